/**
 * The one question that the rest of an agent has about admission: may this node take part in forwarding? Leases, peers
 * and whatever keeps sessions with other nodes ask it, and hear when an answer may be another.
 */

/** Nodes by id, or `all` where the answer may be another for any node, such as after a change of cluster.admission. */
export type ChangedNodes = ReadonlySet<string> | 'all';

export interface AdmissionGate {
  /**
   * Whether the lease of the node with this id is believed, and packets (so sessions too) may go to and come from it.
   * The id is the hash of the node's identity key, which signs all other keys that it announces: whoever asks about such a
   * key asks for the id of the record that it stands in.
   */
  admits(nodeId: string): boolean;
  on(event: 'change', listener: (nodes: ChangedNodes) => void): unknown;
  off(event: 'change', listener: (nodes: ChangedNodes) => void): unknown;
}

/** Nobody is kept out; for whoever has no admission. */
export const everybody: AdmissionGate = { admits: () => true, on: () => {}, off: () => {} };

export function concerns(nodes: ChangedNodes, nodeId: string): boolean {
  return nodes === 'all' || nodes.has(nodeId);
}
