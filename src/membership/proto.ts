/** proto/gossip.proto, read once when the module is loaded. */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { packageFile } from '../package.ts';

const source = readFileSync(packageFile('proto/gossip.proto'), 'utf8');
const { root } = protobuf.parse(source, new protobuf.Root());

export const messageType = root.lookupType('warren.gossip.v1.Message');
export const nodeRecordType = root.lookupType('warren.gossip.v1.NodeRecord');
