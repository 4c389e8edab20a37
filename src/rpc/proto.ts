/** The messages of proto/rpc.proto. */
import { messageTypeOf } from '../protobuf/message-type.ts';

const type = (name: string) => messageTypeOf('rpc.proto', `warren.rpc.v1.${name}`);

export const callMessageType = type('CallMessage');
export const callType = type('Call');
export const answerMessageType = type('AnswerMessage');
export const outcomeType = type('Outcome');
export const targetsType = type('Targets');
export const keysType = type('Keys');
