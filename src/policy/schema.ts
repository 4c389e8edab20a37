/**
 * NetworkPolicy of networking.k8s.io/v1 as a document may hold it. The shapes are those of the API, with what is absent
 * left absent: defaults are the compiler's to know. The rules are those of the API server, and unknown keys are refused,
 * because a misspelt key of a policy opens or closes what nobody meant.
 */
import { errorMessage } from '../errors.ts';
import { prefixCovers } from '../ip/prefix.ts';
import { z } from '../zod.ts';
import { parseCidr } from './cidr.ts';

export const POLICY_API_VERSION = 'networking.k8s.io/v1';

const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;
const DNS_LABEL = /^(?=.{1,63}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;
const LABEL_WORD = /^(?=.{1,63}$)[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?$/;
/** RFC 6335, 5.1. */
const PORT_NAME = /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*$/;

const labelKey = z.string().refine(isLabelKey, {
  error: 'is not a label key: [prefix/]name, where name has 1 to 63 letters, digits, ".", "_" and "-"',
});
const labelValue = z.string().refine((text) => text === '' || LABEL_WORD.test(text), {
  error: 'is not a label value: at most 63 letters, digits, ".", "_" and "-", a letter or digit at both ends',
});

function isLabelKey(text: string): boolean {
  const parts = text.split('/');
  const name = parts.pop()!;
  return LABEL_WORD.test(name) && (parts.length === 0 || (parts.length === 1 && SUBDOMAIN.test(parts[0]!)));
}

const requirement = z
  .strictObject({
    key: labelKey,
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
    values: z.array(labelValue).optional(),
  })
  .superRefine(({ operator, values = [] }, context) => {
    const wantsValues = operator === 'In' || operator === 'NotIn';
    if (wantsValues === values.length > 0) return;
    const message = wantsValues
      ? `${operator} needs at least one of values`
      : `${operator} takes no values (remove them)`;
    context.addIssue({ code: 'custom', path: ['values'], message });
  });

const labelSelector = z.strictObject({
  matchLabels: z.record(labelKey, labelValue).optional(),
  matchExpressions: z.array(requirement).optional(),
});

const cidr = z.string().superRefine((text, context) => {
  // Aborts, so that what is said of the whole block need not ask again whether its parts are blocks.
  const message = problemOf(text);
  if (message !== undefined) context.addIssue({ code: 'custom', message, continue: false });
});

function problemOf(text: string): string | undefined {
  try {
    parseCidr(text);
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

const ipBlock = z
  .strictObject({ cidr, except: z.array(cidr).optional() })
  .superRefine(({ cidr: whole, except = [] }, context) => {
    const outer = parseCidr(whole);
    for (const [i, text] of except.entries()) {
      const inner = parseCidr(text);
      if (prefixCovers(outer, inner) && inner.length > outer.length) continue;
      const message = `${text} is not a smaller part of ${whole} (except takes parts of the block away)`;
      context.addIssue({ code: 'custom', path: ['except', i], message });
    }
  });

const peer = z
  .strictObject({
    podSelector: labelSelector.optional(),
    namespaceSelector: labelSelector.optional(),
    ipBlock: ipBlock.optional(),
  })
  .superRefine((value, context) => {
    const bySelector = value.podSelector !== undefined || value.namespaceSelector !== undefined;
    if (bySelector !== (value.ipBlock !== undefined)) return;
    const message = bySelector
      ? 'has an ipBlock and a selector (make two peers of them)'
      : 'says no peer (give it a podSelector, a namespaceSelector or an ipBlock; {} selects all)';
    context.addIssue({ code: 'custom', message });
  });

const isPortNumber = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535;

const policyPort = z
  .strictObject({
    protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
    port: z
      .custom<number | string>(
        (value) => isPortNumber(value) || (typeof value === 'string' && PORT_NAME.test(value)),
        {
          error:
            'must be a number from 1 to 65535, or the name of a port: 1 to 15 lower-case letters, digits and hyphens',
        },
      )
      .optional(),
    endPort: z.custom<number>(isPortNumber, { error: 'must be a number from 1 to 65535' }).optional(),
  })
  .superRefine(({ port, endPort }, context) => {
    if (endPort === undefined || (typeof port === 'number' && endPort >= port)) return;
    const message =
      typeof port === 'number'
        ? `${endPort} is less than port, ${port}`
        : 'needs a port that is a number (the first one of the range)';
    context.addIssue({ code: 'custom', path: ['endPort'], message });
  });

const ports = z.array(policyPort).optional();
const peers = z.array(peer).optional();

const spec = z.strictObject({
  podSelector: labelSelector.optional(),
  ingress: z.array(z.strictObject({ ports, from: peers })).optional(),
  egress: z.array(z.strictObject({ ports, to: peers })).optional(),
  policyTypes: z
    .array(z.enum(['Ingress', 'Egress']))
    .max(2, { error: 'has more than Ingress and Egress' })
    .optional(),
});

/** Of metadata only these matter here; an API server adds much more. */
export const networkPolicySchema = z.strictObject({
  apiVersion: z.literal(POLICY_API_VERSION),
  kind: z.literal('NetworkPolicy'),
  metadata: z.looseObject({
    name: z.string().refine((text) => SUBDOMAIN.test(text), {
      error: 'must be a name of lower-case letters, digits, "-" and "."',
    }),
    namespace: z
      .string()
      .refine((text) => DNS_LABEL.test(text), {
        error: 'must be a namespace: 1 to 63 lower-case letters, digits and hyphens',
      })
      .optional(),
    annotations: z.record(z.string(), z.string()).nullish(),
    labels: z.record(z.string(), z.string()).nullish(),
  }),
  spec: spec.optional(),
  status: z.unknown().optional(),
});

export type NetworkPolicy = z.output<typeof networkPolicySchema>;
export type LabelSelector = z.output<typeof labelSelector>;
export type PolicyPeer = z.output<typeof peer>;
export type PolicyPort = z.output<typeof policyPort>;
