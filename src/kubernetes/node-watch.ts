/** Keeps up with the Nodes of an API server, its own one first: a node need not wait for the list of all to know its own subnet. */
import { MAX_NODES } from './nodes-view.ts';
import { type Resource, ResourceWatch, type ResourceWatchOptions } from './resource-watch.ts';

const NODES: Resource = { path: '/api/v1/nodes', name: 'nodes', max: MAX_NODES };

export interface NodeWatchOptions extends Omit<ResourceWatchOptions, 'resource' | 'ownName' | 'count'> {
  readonly ownName: string;
  /** How many nodes the cluster has, as far as that is known. */
  readonly nodeCount: () => number;
}

export class NodeWatch extends ResourceWatch {
  constructor({ nodeCount, ...options }: NodeWatchOptions) {
    super({ ...options, resource: NODES, count: nodeCount });
  }
}
