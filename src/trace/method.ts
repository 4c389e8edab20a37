/** Apart from what serves it, which is loaded when it is asked for. */
export const TRACE_METHOD = 'trace.node';
