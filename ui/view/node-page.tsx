/** One node: where it is, what it has, what happened to it. */
import { byteRate, duration, plural } from '../model/format.ts';
import { type NodeView, SEALING_TEXT } from '../model/nodes.ts';
import { formatRoute } from '../model/routes.ts';
import { peerKey, type State } from '../model/state.ts';
import { Chart } from './chart.tsx';
import { Timeline } from './events.tsx';
import { Facts, Gone, HealthMark, PodLink, TableFrame } from './parts.tsx';

const MAX_EVENTS = 30;

export function NodePage({ state, node }: { state: State; node: NodeView | undefined }) {
  if (node === undefined) return <Gone what="node" />;
  const { status, leases, events, history } = state;
  const lease = leases.leases.find(({ id }) => id === node.key);
  const series = node.isSelf ? history.totals : history.peers.find((peer) => peerKey(peer) === node.key);
  return (
    <>
      <h1>
        {node.name} <HealthMark node={node} />
      </h1>
      <div class="columns">
        <section class="card">
          <h2>Node</h2>
          <Facts
            facts={[
              ['id', <code key="id">{node.key}</code>],
              ['tunnel endpoint', <code key="endpoint">{node.endpoint}</code>],
              ['subnets', <Codes key="subnets" texts={node.subnets} />],
              ['lease', lease && `${lease.state}${lease.inUse ? ', in use' : ''}`],
              ['conflicts', lease && lease.conflicts.length > 0 && lease.conflicts.join(', ')],
              ...(node.isSelf && status ? ownFacts(status) : []),
              [
                'link',
                node.peer && (
                  <a key="link" href={formatRoute({ view: 'peer', key: node.key })}>
                    {node.sealing && SEALING_TEXT[node.sealing]}, {byteRate(node.rate.outbound)} to it,{' '}
                    {byteRate(node.rate.inbound)} from it
                  </a>
                ),
              ],
            ]}
          />
        </section>
        <section class="card">
          <Chart
            caption={node.isSelf ? 'To and from all peers' : `Between ${status?.node.name} and ${node.name}`}
            times={history.times}
            series={[
              {
                label: node.isSelf ? 'sent' : 'to it',
                values: series?.outboundBytes ?? zeros(history.times),
              },
              {
                label: node.isSelf ? 'received' : 'from it',
                values: series?.inboundBytes ?? zeros(history.times),
              },
            ]}
            format={byteRate}
          />
        </section>
      </div>
      <div class="columns">
        <section class="card">
          <h2>{plural(node.pods.length, 'pod')}</h2>
          {node.pods.length > 0 && (
            <TableFrame label="Pods of this node">
              <table>
                <thead>
                  <tr>
                    <th scope="col">pod</th>
                    <th scope="col">addresses</th>
                    <th scope="col">network</th>
                  </tr>
                </thead>
                <tbody>
                  {node.pods.map((pod) => (
                    <tr key={pod.name}>
                      <th scope="row">
                        <PodLink pod={pod} />
                      </th>
                      <td>
                        <Codes texts={pod.addresses} />
                      </td>
                      <td>{pod.network ?? '–'}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </TableFrame>
          )}
        </section>
        <section class="card">
          <h2>What happened to it</h2>
          <Timeline events={events.filter(({ nodeId }) => nodeId === node.key).slice(0, MAX_EVENTS)} />
        </section>
      </div>
    </>
  );
}

function ownFacts(status: NonNullable<State['status']>): [string, string | undefined][] {
  const { encapsulation, underlay, datapath, node, version } = status;
  const off = Object.entries(datapath.offloads)
    .filter(([, isOn]) => !isOn)
    .map(([name]) => name);
  return [
    ['agent', `${version}, for ${duration(node.uptimeSeconds)}`],
    ['underlay', `${underlay.address} on ${underlay.interface}, MTU ${underlay.mtu}`],
    [
      'tunnel',
      `${encapsulation.type}, ${encapsulation.encrypted ? `encrypted${encapsulation.cipher ? ` (${encapsulation.cipher})` : ''}` : 'clear text'}, MTU ${status.tun.mtu}`,
    ],
    ['packet path', plural(datapath.workers, 'thread')],
    ['offloads', off.length === 0 ? 'all in use' : `all but ${off.join(', ')}`],
  ];
}

export function Codes({ texts }: { texts: readonly string[] }) {
  if (texts.length === 0) return <>none</>;
  return (
    <span class="codes">
      {texts.map((text) => (
        <code key={text}>{text}</code>
      ))}
    </span>
  );
}

export function zeros(times: readonly number[]): number[] {
  return times.map(() => 0);
}
