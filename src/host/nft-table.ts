/** The one nftables table of warren's own, of the family inet. Others' tables are never touched. */
export const NFT_TABLE = 'warren';
/** What the name of a chain for an agent's way out begins with; the name of its TUN device follows. */
export const EGRESS_CHAIN_PREFIX = 'egress_';
