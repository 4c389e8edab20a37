/**
 * Reads a .proto file of the package. The build replaces this module by one that holds the files' content already
 * parsed (scripts/build.mjs): the parser is as large as all the rest of protobufjs, and reading takes an agent that
 * starts a few milliseconds.
 */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { packageFile } from '../package.ts';

/** `file` is its name under proto/. */
export function readProto(file: string): protobuf.Root {
  return protobuf.parse(readFileSync(packageFile(`proto/${file}`), 'utf8'), new protobuf.Root()).root;
}
