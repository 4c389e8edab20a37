/** Requests between nodes about policies. This one makes a node's policies those of the caller. */
export const REPLACE_METHOD = 'policy.replace';
/** What a node's kernel has counted of some packets. */
export const COUNTED_METHOD = 'policy.counted';
