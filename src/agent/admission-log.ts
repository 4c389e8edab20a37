/** What the log says when another node may take part in forwarding, or may not any more. */
import type { Admission } from '../admission/admission.ts';
import type { ChangedNodes } from '../admission/gate.ts';
import type { Logger } from '../log/logger.ts';

export function logAdmission(
  {
    admission,
    log,
    nameOf,
  }: {
    readonly admission: Admission;
    readonly log: Logger;
    /** Of a member. */
    readonly nameOf: (id: string) => string | undefined;
  },
  changed: ChangedNodes,
): void {
  if (changed === 'all') {
    log.info(admission.rules, 'who may take part in forwarding is decided anew');
    return;
  }
  for (const id of changed) {
    const node = nameOf(id) ?? admission.about(id)?.name;
    const standing = admission.standing(id);
    if (admission.admits(id)) log.info({ node, id, admission: standing }, 'node takes part in forwarding');
    else log.warn({ node, id, admission: standing }, 'node takes no part in forwarding any more');
  }
}
