/** Which member `warren forget` means. */
import { WarrenError } from '../errors.ts';
import type { Member } from './types.ts';

/**
 * The one of these members with this id, or with this name where only one has it. Throws MEMBER_UNKNOWN,
 * MEMBER_AMBIGUOUS, or MEMBER_ALIVE where it is not gone.
 */
export function forgettable(members: readonly Member[], node: string): Member {
  const found = members.filter((member) => member.id === node || member.name === node);
  const [member] = found;
  if (!member) {
    throw new WarrenError('MEMBER_UNKNOWN', `there is no node ${node}`, {
      hint: '`warren peers` lists them.',
    });
  }
  if (found.length > 1) {
    throw new WarrenError('MEMBER_AMBIGUOUS', `${found.length} nodes are called ${node}`, {
      hint: `Name the one by its id: ${found.map(({ id }) => id).join(', ')}`,
    });
  }
  if (member.status === 'alive' || member.status === 'suspect') {
    throw new WarrenError(
      'MEMBER_ALIVE',
      `${member.name} is ${member.status}: only a node that is gone can be forgotten`,
      {
        hint: 'Stop its agent first; when it is shown as dead or left, forget it.',
      },
    );
  }
  return member;
}
