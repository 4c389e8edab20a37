/** What an agent keeps over its restarts. On Linux it is files in the state folder; tests have it in memory. */
import { fileStatementStore, type StatementStore } from '../admission/statement-store.ts';
import { type AttachmentStore, fileAttachmentStore } from '../attachment/attachment-store.ts';
import type { Config } from '../config/config.ts';
import type { OwnTunnelKey } from '../dataplane/tunnel-keys.ts';
import { WarrenError } from '../errors.ts';
import { fileGuestStore, type GuestStore, readGuests } from '../guest/guest-store.ts';
import { type Identity, identitySecret, loadOrCreateIdentity } from '../identity.ts';
import { fileVersionStore, type VersionStore } from '../inventory/version-store.ts';
import { fileLeaseStore, type LeaseStore } from '../lease/lease-store.ts';
import { ClusterKeys, fileKeyChanges } from '../link/cluster-keys.ts';
import { loadKeyRing } from '../link/key-ring.ts';
import type { Logger } from '../log/logger.ts';
import { fileMembershipStore, type MembershipStore } from '../membership/store.ts';
import { makeStateFolder, removeUnfinished } from '../state/state-file.ts';
import { readTunnelKey } from './tunnel-key-file.ts';

export interface AgentState {
  readonly identity: Identity;
  /** Undefined: the cluster has no key, and its gossip is clear text. */
  readonly keys: ClusterKeys | undefined;
  /** What must be in nothing that is handed out. Throws where that cannot be told. */
  readonly secrets: () => readonly Uint8Array[];
  readonly lease: LeaseStore;
  readonly membership: MembershipStore;
  readonly attachments: AttachmentStore;
  readonly guests: GuestStore;
  readonly inventory: VersionStore;
  readonly admission: StatementStore;
  /** Asked where the tunnel has keys; made where there is none. Throws what is wrong with the state folder. */
  tunnelKey(): Promise<OwnTunnelKey>;
}

/** Throws what is wrong with the key file or the state folder. An identity is made where there is none. */
export function fileState({ node, cluster }: Config, log: Logger): AgentState {
  const keyFile = cluster.keyFile === undefined ? undefined : loadKeyRing(cluster.keyFile, log);
  makeStateFolder(node.stateDir);
  removeUnfinished(node.stateDir);
  const keys = keyFile && new ClusterKeys(keyFile, fileKeyChanges(node.stateDir));
  const identity = loadOrCreateIdentity(node.stateDir);
  return {
    identity,
    keys,
    secrets: () => secretsOf(node.stateDir, identity.id, keys),
    lease: fileLeaseStore(node.stateDir, identity.id),
    membership: fileMembershipStore(node.stateDir, identity.id),
    attachments: fileAttachmentStore(node.stateDir, identity.id),
    guests: fileGuestStore(node.stateDir, identity.id),
    inventory: fileVersionStore(node.stateDir, identity.id),
    admission: fileStatementStore(node.stateDir),
    tunnelKey: async () => {
      const { loadOrCreateTunnelKey } = await import('./tunnel-key.ts');
      return loadOrCreateTunnelKey(node.stateDir, identity.id);
    },
  };
}

/** A dump that cannot be compared with the identity's key is none. */
function secretsOf(stateDir: string, nodeId: string, keys: ClusterKeys | undefined): Uint8Array[] {
  const seed = identitySecret(stateDir);
  if (seed === undefined) {
    throw new WarrenError('STATE_INCOMPLETE', `the identity of this node is gone from ${stateDir}`, {
      hint: 'Put back a copy of identity.json.',
    });
  }
  const tunnelKey = readTunnelKey(stateDir, nodeId);
  const guests = readGuests(stateDir, nodeId).flatMap(({ presharedKey }) => presharedKey ?? []);
  return [seed, ...(keys?.keys ?? []), ...(tunnelKey === undefined ? [] : [tunnelKey]), ...guests];
}
