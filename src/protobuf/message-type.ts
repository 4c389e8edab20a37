/** Message types of the .proto files, which are read when the first message is encoded or decoded. */
import type { Root, Type } from 'protobufjs';
import { readProto } from './root.ts';

export type MessageType = Pick<Type, 'encode' | 'decode'>;

/** By file; there are a handful. */
const roots = new Map<string, Root>();

/** `file` is its name under proto/, `name` the type's with its package. */
export function messageTypeOf(file: string, name: string): MessageType {
  let type: Type | undefined;
  const get = (): Type => {
    type ??= rootOf(file).lookupType(name);
    return type;
  };
  return {
    encode: (...args) => get().encode(...args),
    decode: (...args) => get().decode(...args),
  };
}

function rootOf(file: string): Root {
  const root = roots.get(file) ?? readProto(file);
  roots.set(file, root);
  return root;
}
