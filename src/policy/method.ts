/** Makes this node's policies those of the caller. */
export const REPLACE_METHOD = 'policy.replace';
