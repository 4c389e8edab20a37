/** What differs between encapsulations for whoever looks at the underlay. */
export interface TestedEncapsulation {
  readonly type: 'wireguard' | 'vxlan-gpe';
  /** UDP. */
  readonly port: number;
  /** Bytes of outer headers and trailer, by the underlay's family. */
  readonly overhead: { readonly ipv4: number; readonly ipv6: number };
}

export const VXLAN_GPE: TestedEncapsulation = {
  ...{ type: 'vxlan-gpe', port: 4790 },
  overhead: { ipv4: 20 + 8 + 8, ipv6: 40 + 8 + 8 },
};
/** Its type, index and counter, and a tag. */
export const WIREGUARD: TestedEncapsulation = {
  ...{ type: 'wireguard', port: 51_820 },
  overhead: { ipv4: 20 + 8 + 16 + 16, ipv6: 40 + 8 + 16 + 16 },
};
