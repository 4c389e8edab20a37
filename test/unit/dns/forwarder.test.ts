/** Names of others: asked of the host's resolvers, kept for a while, within bounds. */
import { decode, encode, type Packet, type StringAnswer } from 'dns-packet';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { CACHE_LIMITS } from '../../../src/dns/cache.ts';
import type { ExchangeRequest } from '../../../src/dns/forwarder.ts';
import { resolversOf } from '../../../src/dns/resolv-conf.ts';
import { readUpstream } from '../../../src/dns/upstream-message.ts';
import { DnsBench, question, reply } from '../../helpers/dns-responder.ts';

let bench: DnsBench;

beforeEach(() => {
  bench = new DnsBench();
});

const A = (data: string, ttl = 60, name = 'example.com'): StringAnswer => ({ type: 'A', name, ttl, data });
const SERVFAIL = 0x8182;
const REFUSED = 0x8185;
const NXDOMAIN = 0x8183;
const TRUNCATED = 0x8380;
const soa = (ttl: number, minimum: number): Partial<Packet> => ({
  authorities: [
    {
      ...{ type: 'SOA', name: 'com', ttl },
      data: { mname: 'a', rname: 'b', serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
    },
  ],
});
const codeOf = (packet: object) => (packet as { rcode: string }).rcode;
const ttlOf = (packet: { answers?: readonly object[] | undefined }) =>
  (packet.answers?.[0] as { ttl?: number } | undefined)?.ttl;

/** Answers everything, and says how often each was asked. */
function answering(make: (request: ExchangeRequest) => Uint8Array | undefined): void {
  bench.upstream = make;
}

describe('a name of others', () => {
  it('is asked of the first resolver, with a random id and without what is the asker’s', async () => {
    answering((request) => reply(request, { answers: [A('192.0.2.80')] }));
    const ids = new Set<number>();
    for (let i = 0; i < 20; i++) {
      expect(await bench.data(`Name-${i}.example.com`)).toEqual(['192.0.2.80']);
      const { resolver, via, query } = bench.asked.at(-1)!;
      expect([resolver, via]).toEqual(['192.0.2.53', 'udp']);
      const sent = decode(Buffer.from(query));
      expect(sent).toMatchObject({
        flag_rd: true,
        questions: [{ name: `name-${i}.example.com`, type: 'A' }],
      });
      ids.add(sent.id!);
    }
    expect(ids.size).toBeGreaterThan(18);
    expect(bench.counters.queries.forwarded).toBe(20);
  });

  it('is answered with the id and spelling of whoever asked, and records of any type as they came', async () => {
    const unknown = { type: 'UNKNOWN_65' as 'NULL', name: 'example.com', ttl: 30, data: Buffer.from('abc') };
    answering((request) => {
      const bytes = reply(request, { answers: [{ ...unknown, type: 'NULL' }, A('192.0.2.80')] });
      // Type 65 (HTTPS), which dns-packet does not know.
      bytes.writeUInt16BE(65, bytes.indexOf(Buffer.from([0, 10, 0, 1, 0, 0, 0, 30])));
      return bytes;
    });
    const asked = question('eXample.com', 'A', 1232);
    const bytes = Buffer.from((await bench.raw(asked))!);
    expect(bytes.subarray(12, 29)).toEqual(asked.subarray(12, 29));
    expect(bytes.includes(Buffer.from([0, 65, 0, 1, 0, 0, 0, 30, 0, 3, 97, 98, 99]))).toBe(true);
    const answer = decode(bytes);
    expect(answer).toMatchObject({ id: 4711, flag_aa: false, flag_ra: true, flag_ad: false });
    expect(answer.additionals?.map(({ type }) => type)).toEqual(['OPT']);
  });

  it('has no OPT record for whoever sent none', async () => {
    const opt = question('x', 'A', 4096);
    const additionals = decode(opt).additionals!;
    answering((request) => reply(request, { answers: [A('192.0.2.80')], additionals }));
    expect((await bench.ask('example.com')).additionals).toEqual([]);
    expect((await bench.ask('example.com', 'A', { edns: 1232 })).additionals).toHaveLength(1);
    expect(bench.asked).toHaveLength(1);
  });

  it('is kept for its time to live, which passes', async () => {
    answering((request) => reply(request, { answers: [A('192.0.2.80', 60), A('192.0.2.81', 20)] }));
    expect(ttlOf(await bench.ask('example.com'))).toBe(60);
    bench.clock.advance(19_000);
    expect(ttlOf(await bench.ask('EXAMPLE.com'))).toBe(41);
    expect(bench.asked).toHaveLength(1);
    bench.clock.advance(1000);
    await bench.ask('example.com');
    expect(bench.asked).toHaveLength(2);
    expect(bench.counters.cache).toEqual({ hits: 1, misses: 2 });
  });

  it('is kept no longer than an hour, and not at all with a time to live of 0 or of more than 31 bits', async () => {
    let ttl = 1_000_000;
    answering((request) => reply(request, { answers: [A('192.0.2.80', ttl)] }));
    await bench.ask('long.example');
    bench.clock.advance(3_599_000);
    await bench.ask('long.example');
    expect(bench.asked).toHaveLength(1);
    bench.clock.advance(2000);
    await bench.ask('long.example');
    expect(bench.asked).toHaveLength(2);
    for (ttl of [0, 0xffff_ffff]) {
      await bench.ask(`short-${ttl}.example`);
      expect(ttlOf(await bench.ask(`short-${ttl}.example`))).toBe(0);
    }
    expect(bench.asked).toHaveLength(6);
  });

  it('that is not there is kept as long as its SOA says', async () => {
    answering((request) => reply(request, soa(100, 10), NXDOMAIN));
    expect(codeOf(await bench.ask('none.example'))).toBe('NXDOMAIN');
    bench.clock.advance(9000);
    expect(codeOf(await bench.ask('none.example'))).toBe('NXDOMAIN');
    expect(bench.asked).toHaveLength(1);
    bench.clock.advance(1000);
    answering((request) => reply(request, {}, NXDOMAIN));
    for (let i = 0; i < 2; i++) await bench.ask('none.example');
    expect(bench.asked).toHaveLength(3);
    answering((request) => reply(request, soa(1_000_000, 1_000_000)));
    await bench.ask('nodata.example', 'AAAA');
    bench.clock.advance(CACHE_LIMITS.negativeSeconds * 1000 - 1);
    await bench.ask('nodata.example', 'AAAA');
    expect(bench.asked).toHaveLength(4);
    bench.clock.advance(1);
    await bench.ask('nodata.example', 'AAAA');
    expect(bench.asked).toHaveLength(5);
  });

  it('is asked over TCP where UDP has no room, and cut for whoever asks over UDP', async () => {
    const answers = Array.from({ length: 100 }, (_, i) => A(`192.0.2.${i}`));
    answering((request) =>
      request.via === 'udp' ? reply(request, {}, TRUNCATED) : reply(request, { answers }),
    );
    const cut = await bench.ask('example.com', 'A', { edns: 1232 });
    expect([cut.flag_tc, cut.answers]).toEqual([true, []]);
    expect(bench.asked.map(({ via }) => via)).toEqual(['udp', 'tcp']);
    const whole = await bench.ask('example.com', 'A', { via: 'tcp' });
    expect([whole.flag_tc, whole.answers?.length]).toEqual([false, 100]);
    expect(bench.asked).toHaveLength(2);
  });

  it('is asked of the next resolver where one fails, and first of that for a while', async () => {
    const isDown = (resolver: string) => resolver === '192.0.2.53';
    answering((request) =>
      isDown(request.resolver) ? undefined : reply(request, { answers: [A('192.0.2.80')] }),
    );
    const asking = bench.data('example.com');
    await bench.clock.run(1600);
    expect(await asking).toEqual(['192.0.2.80']);
    expect(await bench.data('example.net')).toEqual(['192.0.2.80']);
    expect(bench.asked.map(({ resolver }) => resolver)).toEqual(['192.0.2.53', '192.0.2.54', '192.0.2.54']);
    await bench.clock.run(10_000);
    answering((request) => reply(request, { answers: [A('192.0.2.80')] }));
    await bench.data('example.org');
    expect(bench.asked.at(-1)!.resolver).toBe('192.0.2.53');
  });

  it.each([
    ['SERVFAIL', SERVFAIL],
    ['REFUSED', REFUSED],
  ])('that a resolver answers with %s is asked of the next one', async (code, flags) => {
    answering((request) =>
      request.resolver === '192.0.2.53'
        ? reply(request, {}, flags)
        : reply(request, { answers: [A('192.0.2.80')] }),
    );
    expect(await bench.data('example.com')).toEqual(['192.0.2.80']);
    answering((request) => reply(request, {}, flags));
    expect(codeOf(await bench.ask('example.net'))).toBe(code);
    const before = bench.asked.length;
    // Remembered for a second, so that nobody makes us ask over and over.
    expect(codeOf(await bench.ask('example.net'))).toBe('SERVFAIL');
    expect(bench.asked.length).toBe(before);
    bench.clock.advance(1001);
    await bench.ask('example.net');
    expect(bench.asked.length).toBe(before + 2);
  });

  it('is a failure within 4.6 s where nobody answers', async () => {
    const asking = bench.ask('example.com');
    await bench.clock.run(4600);
    expect(codeOf(await asking)).toBe('SERVFAIL');
    expect(bench.counters.queries.failed).toBe(1);
    expect(bench.asked.length).toBe(3);
  });

  it('asked twice at once is asked once', async () => {
    answering(() => undefined);
    const asking = [1, 2, 3].map(() => bench.ask('example.com'));
    await bench.clock.run(100);
    expect(bench.asked).toHaveLength(1);
    await bench.clock.run(5000);
    expect((await Promise.all(asking)).map(codeOf)).toEqual(['SERVFAIL', 'SERVFAIL', 'SERVFAIL']);
  });

  it('waits with 255 others, and no more', async () => {
    const asking = Array.from({ length: 300 }, (_, i) => bench.ask(`name-${i}.example`));
    await bench.clock.run(10);
    expect(bench.asked).toHaveLength(256);
    expect(bench.counters.forwards.refused).toBe(44);
    await bench.clock.run(5000);
    await Promise.all(asking);
    expect(bench.counters.queries.failed).toBe(300);
  });

  it('is not looked up for whoever wants no recursion', async () => {
    const bytes = (await bench.raw(question('example.com', 'A', undefined, { flags: 0 })))!;
    expect(codeOf(decode(Buffer.from(bytes)))).toBe('REFUSED');
    expect(bench.asked).toEqual([]);
  });
});

describe('the cache', () => {
  it('has its bounds', async () => {
    answering((request) => reply(request, { answers: [A('192.0.2.80', 600)] }));
    for (let i = 0; i < CACHE_LIMITS.entries + 50; i++) {
      bench.clock.advance(2);
      await bench.ask(`name-${i}.example`);
    }
    expect(bench.responder.cache.size).toBe(CACHE_LIMITS.entries);
    const asked = bench.asked.length;
    await bench.ask('name-60.example');
    expect(bench.asked.length).toBe(asked);
    await bench.ask('name-10.example');
    expect(bench.asked.length).toBe(asked + 1);

    const long = Array.from({ length: 200 }, (_, i) => A(`192.0.2.${i}`, 600, 'a-rather-long-name.example'));
    answering((request) => reply(request, { answers: long }));
    for (let i = 0; i < 1000; i++) {
      bench.clock.advance(2);
      await bench.ask(`long-${i}.example`, 'A', { via: 'tcp' });
    }
    expect(bench.responder.cache.bytes).toBeLessThanOrEqual(CACHE_LIMITS.bytes);
    expect(bench.responder.cache.bytes).toBeGreaterThan(CACHE_LIMITS.bytes * 0.9);
  });
});

describe('an answer from outside', () => {
  const query = encode({ type: 'query', id: 7, questions: [{ type: 'A', name: 'example.com' }] });

  it('counts only with the id and the question of what was asked', () => {
    const request = { query } as unknown as ExchangeRequest;
    const right = reply(request, { answers: [A('192.0.2.80')] });
    expect(readUpstream(right, query)?.ttlSeconds).toBe(60);
    const other = Buffer.from(right);
    other.writeUInt16BE(8, 0);
    expect(readUpstream(other, query)).toBeUndefined();
    expect(readUpstream(query, query)).toBeUndefined();
    const questions = [{ type: 'A' as const, name: 'example.org' }];
    expect(readUpstream(encode({ type: 'response', id: 7, questions }), query)).toBeUndefined();
    expect(readUpstream(right.subarray(0, right.length - 1), query)).toBeUndefined();
  });

  it('may be any bytes', () => {
    const request = { query } as unknown as ExchangeRequest;
    const valid = reply(request, {
      answers: [A('192.0.2.80')],
      ...soa(5, 6),
      additionals: decode(question('x', 'A', 512)).additionals!,
    });
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 });
    fc.assert(
      fc.property(changes, fc.nat(valid.length), fc.uint8Array({ maxLength: 40 }), (damage, cut, more) => {
        const bytes = Buffer.concat([valid.subarray(0, cut < 20 ? valid.length : cut), more]);
        for (const [at, value] of damage) bytes[at % bytes.length] = value;
        const read = readUpstream(bytes, query);
        if (!read) return;
        expect(read.bytes.length).toBeLessThanOrEqual(bytes.length);
        for (const at of read.ttlOffsets) expect(at + 4).toBeLessThanOrEqual(read.bytes.length);
      }),
      { numRuns: 3000, seed: 20_261_127 },
    );
  });
});

describe('resolv.conf', () => {
  it('names three resolvers at most, without this node itself', () => {
    const text = `# nameserver 1.1.1.1
search example.com
nameserver 10.42.1.1
nameserver 192.0.2.1 # comment
 nameserver   fe80::1%eth0
nameserver nonsense
nameserver 192.0.2.1
nameserver 127.0.0.53
nameserver 192.0.2.9`;
    expect(resolversOf(text, (one) => one === '10.42.1.1')).toEqual([
      '192.0.2.1',
      'fe80::1%eth0',
      '127.0.0.53',
    ]);
    expect(resolversOf('', () => false)).toEqual([]);
  });
});
