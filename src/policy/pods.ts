/** What the compiler has to know of pods and namespaces, whoever knows it. */
import type { IpAddress } from '../ip/address.ts';
import type { Protocol } from './model.ts';
import type { Labels } from './selector.ts';

export interface NamedPort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
}

export interface PolicyPod {
  readonly namespace: string;
  readonly labels: Labels;
  /** One of each family at most. */
  readonly addresses: readonly IpAddress[];
  /** Those of its containers' ports that have names. */
  readonly ports: readonly NamedPort[];
  /** It has its node's network, and its node's addresses. */
  readonly hostNetwork: boolean;
}

export interface PolicyNamespace {
  readonly name: string;
  readonly labels: Labels;
}
