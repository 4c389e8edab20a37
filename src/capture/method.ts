/** Apart from what serves it, which is loaded when it is asked for. */
export const CAPTURE_METHOD = 'capture.run';
