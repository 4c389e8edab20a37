/** One pod: where it is and how it is reached. */
import type { NodeView } from '../model/nodes.ts';
import { Codes } from './node-page.tsx';
import { Facts, Gone, HealthMark, NodeLink, PodLink } from './parts.tsx';

const MAX_NEIGHBOURS = 60;

export function PodPage({
  nodes,
  nodeName,
  name,
}: {
  nodes: readonly NodeView[];
  nodeName: string;
  name: string;
}) {
  const node = nodes.find((one) => one.name === nodeName);
  const pod = node?.pods.find((one) => one.name === name);
  if (node === undefined || pod === undefined) return <Gone what="pod" />;
  const neighbours = node.pods.filter((one) => one !== pod);
  const labels = Object.entries(pod.labels ?? {});
  return (
    <>
      <h1>Pod {pod.name}</h1>
      <div class="columns">
        <section class="card">
          <h2>Pod</h2>
          <Facts
            facts={[
              ['addresses', <Codes key="addresses" texts={pod.addresses} />],
              ['network', pod.network],
              [
                'labels',
                labels.length > 0 && <Codes key="labels" texts={labels.map((pair) => pair.join('='))} />,
              ],
              ['node', <NodeLink key="node" node={node} />],
              ['state of the node', <HealthMark key="health" node={node} />],
              [
                'reached by way of',
                node.isSelf ? 'this node itself' : <code key="way">{node.endpoint}</code>,
              ],
            ]}
          />
        </section>
        <section class="card">
          <h2>Beside it on {node.name}</h2>
          {neighbours.length === 0 ? (
            <p class="quiet">It is alone there.</p>
          ) : (
            <p class="chips">
              {neighbours.slice(0, MAX_NEIGHBOURS).map((one) => (
                <PodLink key={one.name} pod={one} />
              ))}
              {neighbours.length > MAX_NEIGHBOURS && (
                <span class="quiet">and {neighbours.length - MAX_NEIGHBOURS} more</span>
              )}
            </p>
          )}
        </section>
      </div>
    </>
  );
}
