/** proto/rpc.proto, read once when the module is loaded. */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { packageFile } from '../package.ts';

const source = readFileSync(packageFile('proto/rpc.proto'), 'utf8');
const { root } = protobuf.parse(source, new protobuf.Root());

export const callMessageType = root.lookupType('warren.rpc.v1.CallMessage');
export const callType = root.lookupType('warren.rpc.v1.Call');
export const answerMessageType = root.lookupType('warren.rpc.v1.AnswerMessage');
export const outcomeType = root.lookupType('warren.rpc.v1.Outcome');
export const targetsType = root.lookupType('warren.rpc.v1.Targets');
export const keysType = root.lookupType('warren.rpc.v1.Keys');
