/** The kernel's numbers of the two families (AF_INET, AF_INET6 of linux/socket.h). */
export const FAMILIES = { 4: 2, 6: 10 } as const;
