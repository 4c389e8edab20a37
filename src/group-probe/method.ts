/** Of calls between nodes (src/rpc): apart, for an agent serves it before it loads the rest. */
export const METHOD = 'groups.probe';
