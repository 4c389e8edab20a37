/** Apart from what serves it, which is loaded when it is asked for. */
export const LINKS_METHOD = 'history.links';
