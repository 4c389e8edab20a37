/** The one nftables table of warren's own, of the family inet. Others' tables are never touched. */
export const NFT_TABLE = 'warren';
