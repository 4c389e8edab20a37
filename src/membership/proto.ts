/** The messages of proto/gossip.proto. */
import { messageTypeOf } from '../protobuf/message-type.ts';

const type = (name: string) => messageTypeOf('gossip.proto', `warren.gossip.v1.${name}`);

export const messageType = type('Message');
export const nodeRecordType = type('NodeRecord');
