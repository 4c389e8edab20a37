/** The number of a real kernel's rule set. */
import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { NetlinkConversation } from '../../../src/netlink/conversation.ts';
import { decodeGeneration, getGeneration } from '../../../src/netlink/nf-tables.ts';
import { NETLINK_NETFILTER } from '../../../src/sys/constants.ts';
import { NetlinkSocket } from '../../../src/sys/netlink-socket.ts';
import { enterOwnNetns } from '../../helpers/own-netns.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

describeUnless(lacking('root', 'nft'), 'the number of the rule set', () => {
  it('changes with the rules, and with nothing else', () => {
    enterOwnNetns();
    const socket = NetlinkSocket.open(NETLINK_NETFILTER);
    try {
      const netfilter = new NetlinkConversation(socket);
      const generation = () => decodeGeneration(netfilter.ask({ request: getGeneration(), doing: 'asking' }));
      const nft = (...words: readonly string[]) => execFileSync('nft', words);
      const seen = [generation()];
      for (const words of [
        'add table inet one',
        'add chain inet one two',
        'add rule inet one two accept',
        'flush ruleset',
      ]) {
        nft(words);
        seen.push(generation());
        nft('list', 'ruleset');
        expect(generation()).toBe(seen.at(-1));
      }
      expect(new Set(seen).size).toBe(seen.length);
    } finally {
      socket.close();
    }
  });
});
