/** The messages of proto/inventory.proto. */
import { messageTypeOf } from '../protobuf/message-type.ts';

const type = (name: string) => messageTypeOf('inventory.proto', `warren.inventory.v1.${name}`);

export const entryType = type('Entry');
export const pullRequestType = type('PullRequest');
export const pullPartType = type('PullPart');
