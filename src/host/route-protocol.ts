/** Marks our routes in the kernel's table (`rtnetlink(7)`, rtm_protocol): 5 to 255 are for daemons. */
export const ROUTE_PROTOCOL_NUMBER = 87;
