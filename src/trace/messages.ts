/** What is asked: by a person, with names; and then of each of the two nodes, with addresses. */
import { parseAddress } from '../ip/address.ts';
import { z } from '../zod.ts';
import { ANSWERS, HOOKS, type NodeObservation, POINTS, ROLES, ROUTE_PROBLEMS } from './model.ts';

export const MAX_BYTES = 65_000;
export const MAX_LIVE_SECONDS = 60;
export const DEFAULT_LIVE_SECONDS = 10;

const address = z.string().max(64).refine(isAddress, { error: 'must be an address' });
const port = z.number().int().min(0).max(65_535);
const protocol = z.enum(['icmp', 'tcp', 'udp']);
const name = z.string().max(256);
const end = z.string().min(1).max(200);

export const traceRequest = z
  .strictObject({
    source: end,
    destination: end,
    protocol: protocol.default('icmp'),
    /** Of TCP and UDP. */
    port: port.default(0),
    /** Of the whole IP packet; default: a few hundred. */
    bytes: z.number().int().min(28).max(MAX_BYTES).optional(),
    /** Real packets of the flow, none is sent. */
    live: z.boolean().default(false),
    seconds: z.number().min(0.5).max(MAX_LIVE_SECONDS).default(DEFAULT_LIVE_SECONDS),
  })
  .describe(
    'the body must be {"source": "…", "destination": "…"}, and may have protocol, port, bytes, live and seconds',
  );
export type TraceRequest = Readonly<z.output<typeof traceRequest>>;
export type TraceWishes = Readonly<z.input<typeof traceRequest>>;

const flow = z.strictObject({
  ...{ family: z.union([z.literal(4), z.literal(6)]), source: address, destination: address, protocol },
  ...{ port, mark: port, bytes: z.number().int().min(0).max(MAX_BYTES) },
});
const tunnel = z.strictObject({ address, port, ownPort: port, isSealed: z.boolean() });
const id = z.string().regex(/^[0-9a-f]{16}$/);

/** What a node is asked by the one that traces. */
export const nodeQuestion = z.discriminatedUnion('action', [
  /** From which address the kernel there would send. */
  z.strictObject({ action: z.literal('source'), flow, given: address }),
  z.strictObject({
    ...{ action: z.literal('begin'), id, flow, given: address, role: z.enum(ROLES) },
    tunnel: tunnel.optional(),
    other: name.optional(),
  }),
  z.strictObject({ action: z.literal('send'), id }),
  z.strictObject({ action: z.literal('look'), id }),
  z.strictObject({ action: z.literal('end'), id, triesAgent: z.boolean() }),
]);
export type NodeQuestion = Readonly<z.output<typeof nodeQuestion>>;

export const sourceAnswer = z.object({ source: address });
export const outlook = z.object({
  ...{ hasSeen: z.boolean(), hasArrived: z.boolean(), isAnswered: z.boolean(), isLost: z.boolean() },
});

const link = z.object({ name, isUp: z.boolean(), hasCarrier: z.boolean(), mtu: z.number() });
const route = z.union([
  z.object({
    ...{ isFound: z.literal(true), isLocal: z.boolean(), device: name },
    ...{ gateway: name.optional(), source: name.optional() },
  }),
  z.object({ isFound: z.literal(false), problem: z.enum(ROUTE_PROBLEMS), text: name }),
]);
const kernelPath = z.object({
  ...{ reached: z.array(z.enum(HOOKS)).max(8), passed: z.array(z.enum(HOOKS)).max(8) },
  ...{ inInterface: name.optional(), outInterface: name.optional() },
  drop: z
    .object({
      family: name,
      table: name,
      chain: name,
      rule: z.string().max(4096).optional(),
      isPolicy: z.boolean(),
      via: z.array(name).max(16).optional(),
    })
    .optional(),
});
const names = z.array(name).max(256);
const owner = z.object({
  ...{ name, kind: z.enum(['gossip', 'static', 'wireguard']), status: name, endpoint: name },
  ...{
    pathMtu: z.number().nullable(),
    hasSession: z.boolean(),
    unreachable: z.string().max(1024).nullable(),
  },
});
const facts = z.object({
  pod: z
    .object({
      ...{ name, attached: names, isThere: z.boolean(), addresses: names },
      ...{ hostEnd: link.nullable(), inner: link.nullable(), route: route.nullable() },
      neighbour: name.nullable(),
    })
    .nullable(),
  ...{ tun: link.nullable(), isActive: z.boolean(), stuckWorkers: z.number(), isEncrypted: z.boolean() },
  reversePath: z.object({ in: name, back: name.nullable() }).nullable(),
  ...{ tunnelPort: z.number(), forwards: z.boolean(), route: route.nullable(), ownSubnets: names },
  owner: z.union([owner, z.literal('self'), z.null()]),
  other: z.object({ status: name, admission: name }).nullable(),
  underlay: z
    .object({
      ...{ link: link.nullable(), route: route.nullable(), neighbour: name.nullable() },
      agent: z.enum(['open', 'refused', 'unreachable', 'silent']).nullable(),
    })
    .nullable(),
});
const icmpError = z.object({
  from: name,
  kind: z.enum([
    'no-network',
    'no-host',
    'no-port',
    'no-protocol',
    'too-big',
    'prohibited',
    'expired',
    'other',
  ]),
  mtu: z.number().optional(),
});

/** Another node sends it. */
export const nodeObservation: z.ZodType<NodeObservation> = z.object({
  ...{ node: name, role: z.enum(ROLES), facts },
  sent: z.object({ error: name.nullable(), source: name }).nullable(),
  sightings: z
    .array(
      z.object({
        ...{ point: z.enum(POINTS), atUs: z.number() },
        what: z.enum(['packet', 'answer', 'error', 'handshake']),
        ...{ answer: z.enum(ANSWERS).optional(), error: icmpError.optional(), tag: name.optional() },
      }),
    )
    .max(256),
  ...{ inner: kernelPath.nullable(), outer: kernelPath.nullable(), blind: z.string().max(4096).nullable() },
  drops: z.array(z.object({ reason: name, isOurs: z.boolean() })).max(256),
  grown: z.record(name, z.number()),
});

function isAddress(value: string): boolean {
  try {
    parseAddress(value);
    return true;
  } catch {
    return false;
  }
}
