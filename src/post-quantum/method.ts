/** Of calls between nodes (src/rpc): apart, for an agent serves them before it loads the rest. */
export const KEY_METHOD = 'post-quantum.key';
export const AGREE_METHOD = 'post-quantum.agree';
