/** proto/inventory.proto, read once when the module is loaded. */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { packageFile } from '../package.ts';

const source = readFileSync(packageFile('proto/inventory.proto'), 'utf8');
const { root } = protobuf.parse(source, new protobuf.Root());

export const entryType = root.lookupType('warren.inventory.v1.Entry');
export const pullRequestType = root.lookupType('warren.inventory.v1.PullRequest');
export const pullPartType = root.lookupType('warren.inventory.v1.PullPart');
