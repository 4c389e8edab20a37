/** Apart from what serves it, which is loaded when it is asked for. */
export const SYSDUMP_METHOD = 'sysdump.collect';
