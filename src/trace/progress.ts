/** How far a packet came, by what the two nodes have seen of it. */
import { answersIn } from './answers.ts';
import { type Flow, isMissing, type NodeObservation, POINTS, type Point, type TraceInput } from './model.ts';

/** How far the packet came for sure: the last place where it was seen, or whose doing shows that it was there. */
export type Progress = 'nowhere' | Point | 'delivered';

export function progressOf({ source, destination, flow }: TraceInput): Progress {
  if (isMissing(source)) return 'nowhere';
  const there = destination === null || isMissing(destination) ? undefined : destination;
  // What a rule has dropped is not on its way any more, though the rule may answer in the name of the destination.
  if (flow.mark !== 0 && there?.inner?.drop !== undefined) return 'out-of-tun';
  if (flow.mark !== 0 && source.inner?.drop !== undefined) return 'host-end';
  if (isDelivered(source, there, flow)) return 'delivered';
  // Who dropped it had it, and it went no further.
  if (there?.drops.some(({ isOurs, reason }) => isOurs && reason.startsWith('inbound-')))
    return 'underlay-in';
  if (source.drops.some(({ isOurs, reason }) => isOurs && reason.startsWith('outbound-'))) return 'into-tun';
  const isSealed = source.facts.isEncrypted;
  /** Of datagrams whose content cannot be seen only those count that both ends have seen. */
  const sent = new Set(tagsAt(source, 'underlay-out'));
  /** Real packets of a sealed tunnel: any datagram may be one, if a packet of the flow came to the tunnel at all. */
  const isBlind = isSealed && flow.mark === 0 && !sees(source, 'into-tun');
  const seen = (point: Point): boolean => {
    if (isBlind && point.startsWith('underlay')) return false;
    const found = POINTS.indexOf(point) < POINTS.indexOf('underlay-in') ? source : there;
    if (found === undefined) return point === 'to-pod' && sees(source, point);
    if (isSealed && point === 'underlay-in') return tagsAt(found, point).some((tag) => sent.has(tag));
    return sees(found, point);
  };
  for (const point of [...POINTS].reverse()) if (seen(point)) return point;
  // nftrace tells it too, and of a node that sends itself nothing else does.
  const { inner } = source;
  if (inner === null || inner.reached.length === 0) return 'nowhere';
  const isHandedOver = inner.passed.includes('postrouting') && inner.outInterface === source.facts.tun?.name;
  // A raw socket's packet that a filter of the very node drops is refused to the sender, and has been on the way all the same.
  return isHandedOver && flow.mark !== 0 ? 'into-tun' : 'host-end';
}

function isDelivered(source: NodeObservation, there: NodeObservation | undefined, flow: Flow): boolean {
  const last = there ?? source;
  const isAnswered = [source, there].some(
    (node) => node !== undefined && answersIn(node.sightings, flow).length > 0,
  );
  // A node that is itself the destination has no interface of a pod: its kernel's input is the end.
  const isOwn = last.facts.route?.isFound === true && last.facts.route.isLocal;
  return isAnswered || (isOwn && last.role !== 'source' && (last.inner?.passed.includes('input') ?? false));
}

function sees(node: NodeObservation, point: Point): boolean {
  return node.sightings.some((one) => one.point === point && one.what === 'packet');
}

function tagsAt(node: NodeObservation, point: Point): string[] {
  return node.sightings.flatMap((one) => (one.point === point && one.tag !== undefined ? [one.tag] : []));
}
