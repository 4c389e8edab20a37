/** What stands behind a streamed answer: nodes that are missing in it, as JSON in the characters of a URL. */
export const MISSING_TRAILER = 'warren-missing';
