/** What the responder counts. The names are those of the metrics. */

/**
 * How a question ended: `answered` and `absent` are of the overlay's own names, `forwarded` and `failed` of others'.
 * `refused`: whoever asked may not, or nobody may ask that. `limited`: it was one too many, and got no answer.
 */
export const DNS_RESULTS = [
  'answered',
  'absent',
  'forwarded',
  'failed',
  'refused',
  'malformed',
  'limited',
] as const;
export type DnsResult = (typeof DNS_RESULTS)[number];

export interface DnsCounters {
  readonly queries: Record<DnsResult, number>;
  readonly forwards: Record<'udp' | 'tcp' | 'answered' | 'failed' | 'refused', number>;
  readonly cache: Record<'hits' | 'misses', number>;
}

export function dnsCounters(): DnsCounters {
  return {
    queries: Object.fromEntries(DNS_RESULTS.map((name) => [name, 0])) as Record<DnsResult, number>,
    forwards: { udp: 0, tcp: 0, answered: 0, failed: 0, refused: 0 },
    cache: { hits: 0, misses: 0 },
  };
}
