/** One peer: the link between it and this node. */
import { byteRate, bytes, count, duration } from '../model/format.ts';
import { type NodeView, SEALING_TEXT } from '../model/nodes.ts';
import { formatRoute } from '../model/routes.ts';
import { peerKey, type State } from '../model/state.ts';
import { Chart } from './chart.tsx';
import { Codes, zeros } from './node-page.tsx';
import { Facts, Gone, HealthMark } from './parts.tsx';

const KINDS = {
  gossip: 'member of the cluster',
  static: 'static, from the configuration',
  wireguard: 'WireGuard device of this node',
} as const;

export function PeerPage({ state, node }: { state: State; node: NodeView | undefined }) {
  const peer = node?.peer;
  if (node === undefined || peer === undefined) return <Gone what="peer" />;
  const { history, status } = state;
  const series = history.peers.find((one) => peerKey(one) === node.key);
  return (
    <>
      <h1>
        Link to {node.name} <HealthMark node={node} />
      </h1>
      {peer.unreachable !== undefined && <p class="notice bad">{peer.unreachable}</p>}
      <div class="columns">
        <section class="card">
          <h2>Peer</h2>
          <Facts
            facts={[
              ['kind', KINDS[peer.kind]],
              ['endpoint', <code key="endpoint">{peer.endpoint}</code>],
              ['routes', <Codes key="routes" texts={peer.subnets} />],
              ['encryption', node.sealing && SEALING_TEXT[node.sealing]],
              ['keys in use for', peer.sessionAgeSeconds !== undefined && duration(peer.sessionAgeSeconds)],
              ['path MTU', peer.mtu === undefined ? 'not known' : `${count(peer.mtu)} bytes`],
              ['checksums', peer.partialChecksums ? 'left partial' : 'computed'],
              ['groups', peer.sentSingly && 'do not arrive whole: it is sent single datagrams'],
              [
                'node',
                peer.kind === 'gossip' && (
                  <a key="node" href={formatRoute({ view: 'node', key: node.key })}>
                    {node.name}
                  </a>
                ),
              ],
            ]}
          />
        </section>
        <section class="card">
          <h2>Traffic since it is known</h2>
          <table>
            <thead>
              <tr>
                <th scope="col">direction</th>
                <th scope="col" class="number">
                  now
                </th>
                <th scope="col" class="number">
                  bytes
                </th>
                <th scope="col" class="number">
                  packets
                </th>
              </tr>
            </thead>
            <tbody>
              {(['outbound', 'inbound'] as const).map((direction) => (
                <tr key={direction}>
                  <th scope="row">{direction === 'outbound' ? 'to it' : 'from it'}</th>
                  <td class="number">{byteRate(node.rate[direction])}</td>
                  <td class="number">{bytes(peer[direction].bytes)}</td>
                  <td class="number">{count(peer[direction].packets)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      </div>
      <section class="card">
        <Chart
          caption={`Between ${status?.node.name} and ${node.name}, the last 15 minutes`}
          times={history.times}
          series={[
            { label: 'to it', values: series?.outboundBytes ?? zeros(history.times) },
            { label: 'from it', values: series?.inboundBytes ?? zeros(history.times) },
          ]}
          format={byteRate}
          height={240}
        />
      </section>
    </>
  );
}
