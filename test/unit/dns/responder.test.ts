/** Bytes of a question in, bytes of the answer out. */
import { decode, encode, type OptAnswer } from 'dns-packet';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { answerLocally } from '../../../src/dns/zone.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { seededRandom } from '../../../src/membership/random.ts';
import { DnsBench, question } from '../../helpers/dns-responder.ts';

let bench: DnsBench;

beforeEach(() => {
  bench = new DnsBench();
  const { cluster } = bench;
  const compose = { 'com.docker.compose.service': 'db', 'warren.ports': 'sql:5432/tcp,9000/udp' };
  cluster.attach({ name: 'app-db-1', node: 1, host: 2, network: 'app', labels: compose });
  cluster.attach({ name: 'app-db-2', node: 2, host: 2, network: 'app', labels: compose });
  cluster.attach({ name: 'web', node: 1, host: 3, network: 'app' });
  cluster.attach({ name: 'other', node: 2, host: 4, network: 'blue', labels: compose });
  cluster.attach({ name: 'solo', node: 2, host: 5 });
});

/** With its code, which the types do not have. */
function codeOf(packet: object): string {
  return (packet as { rcode: string }).rcode;
}

describe('names', () => {
  it.each([
    ['web.node-1.warren', ['10.42.1.3']],
    ['WEB.Node-1.WARREN', ['10.42.1.3']],
    ['web.node-2.warren', ['NXDOMAIN']],
    ['node-2.warren', ['10.42.2.1']],
    ['db.app.warren', ['10.42.1.2', '10.42.2.2']],
    ['app-db-2.app.warren', ['10.42.2.2']],
    ['db.blue.warren', ['10.42.2.4']],
    ['solo.warren', ['10.42.2.5']],
    ['solo.app.warren', ['NXDOMAIN']],
    ['app.warren', []],
    ['none.warren', ['NXDOMAIN']],
    ['warren', []],
  ])('%s is %j', async (name, expected) => {
    expect(await bench.data(name)).toEqual(expected);
  });

  it('have IPv6 addresses too', async () => {
    expect(await bench.data('db.app.warren', 'AAAA')).toEqual(['fd42::1:0:0:0:2', 'fd42::2:0:0:0:2']);
    expect(await bench.data('node-1.warren', 'AAAA')).toEqual(['fd42::1:0:0:0:1']);
    expect((await bench.data('web.node-1.warren', 'ANY')).length).toBe(2);
  });

  it('alone are those of the network of whoever asks', async () => {
    expect(await bench.data('db', 'A', '10.42.1.3')).toEqual(['10.42.1.2', '10.42.2.2']);
    expect(await bench.data('db', 'A', '10.42.2.4')).toEqual(['10.42.2.4']);
    expect(await bench.data('db', 'AAAA', 'fd42:0:0:2::4')).toEqual(['fd42::2:0:0:0:4']);
    expect(await bench.data('db', 'A', '10.42.2.5')).toEqual(['NXDOMAIN']);
    expect(await bench.data('solo', 'A', '10.42.2.5')).toEqual(['10.42.2.5']);
    expect(bench.asked).toEqual([]);
  });

  it('come in every order', () => {
    const orders = new Set<string>();
    const options = {
      names: bench.cluster.index(),
      ranges: () => [],
      node: 'node-1',
      random: seededRandom(1),
    };
    for (let i = 0; i < 50; i++) {
      const asked = { name: 'db.app.warren', type: 1, from: parseAddress('10.42.1.1'), limit: 512 };
      const answer = answerLocally(asked, options);
      orders.add(answer!.answers.map((one) => String('address' in one && one.address.value)).join());
    }
    expect(orders.size).toBe(2);
  });

  it('are gone with their node, and with what was attached', async () => {
    bench.cluster.node(2, 'node-2', 'suspect');
    expect(await bench.data('db.app.warren')).toHaveLength(2);
    bench.cluster.node(2, 'node-2', 'dead');
    expect(await bench.data('db.app.warren')).toEqual(['10.42.1.2']);
    expect(await bench.data('node-2.warren')).toEqual(['NXDOMAIN']);
    expect(await bench.data('2.2.42.10.in-addr.arpa', 'PTR')).toEqual(['NXDOMAIN']);
    bench.cluster.node(2);
    expect(await bench.data('db.app.warren')).toHaveLength(2);
    bench.cluster.revoked.add('id-2');
    expect(await bench.data('db.app.warren')).toEqual(['10.42.1.2']);
    bench.cluster.detach({ name: 'app-db-1', node: 1, host: 2 });
    expect(await bench.data('db.app.warren')).toEqual(['NXDOMAIN']);
    bench.cluster.revoked.clear();
    expect(await bench.data('db.app.warren')).toEqual(['10.42.2.2']);
    bench.cluster.forget(2);
    expect(await bench.data('db.app.warren')).toEqual(['NXDOMAIN']);
  });

  it('follow a node that is called otherwise', async () => {
    bench.cluster.node(2, 'Blue.Example');
    expect(await bench.data('app-db-2.blue.example.warren')).toEqual(['10.42.2.2']);
    expect(await bench.data('app-db-2.node-2.warren')).toEqual(['NXDOMAIN']);
  });

  it('leave out what is not healthy, but for its own name', async () => {
    const sick = { 'com.docker.compose.service': 'db', 'docker.health': 'unhealthy' };
    bench.cluster.attach({ name: 'app-db-2', node: 2, host: 2, network: 'app', labels: sick });
    expect(await bench.data('db.app.warren')).toEqual(['10.42.1.2']);
    expect(await bench.data('app-db-2.node-2.warren')).toEqual(['10.42.2.2']);
    const { answers, authorities } = await bench.ask('app-db-2.app.warren');
    expect([answers, authorities?.map(({ type }) => type)]).toEqual([[], ['SOA']]);
  });

  it('are never told of addresses that are not their node’s', async () => {
    const entry = { id: 'x', name: 'thief', network: 'app', labels: {} };
    const addresses = [{ family: 4 as const, value: 0x0a2a0102n }];
    bench.cluster.inventory.emit('change', { nodeId: 'id-2', set: [{ ...entry, addresses }], deleted: [] });
    expect(await bench.data('thief.node-2.warren')).toEqual([]);
  });

  it('of Kubernetes and of containers without a name are host names', async () => {
    const id = 'a1b2c3d4e5f6'.padEnd(64, '0');
    bench.cluster.attach({ name: 'shop/Web_1', node: 1, host: 9 });
    bench.cluster.attach({ name: id, node: 1, host: 10, network: 'app' });
    expect(await bench.data('web_1.shop.node-1.warren')).toEqual(['10.42.1.9']);
    expect(await bench.data('a1b2c3d4e5f6.node-1.warren')).toEqual(['10.42.1.10']);
    expect(await bench.data('9.1.42.10.in-addr.arpa', 'PTR')).toEqual(['web_1.shop.node-1.warren']);
  });

  it('of a node come before those of a network', async () => {
    bench.cluster.attach({ name: 'web', node: 2, host: 20, network: 'node-1' });
    expect(await bench.data('web.node-1.warren')).toEqual(['10.42.1.3']);
  });

  it('in several networks are reached by the one that whoever asks is in', async () => {
    bench.cluster.attach({ name: 'both', node: 2, host: 30, network: 'app' });
    bench.cluster.attach({ name: 'both', node: 2, host: 31, network: 'blue' });
    expect(await bench.data('both.node-2.warren', 'A', '10.42.1.3')).toEqual(['10.42.2.30']);
    expect(await bench.data('both.node-2.warren', 'A', '10.42.2.5')).toHaveLength(2);
  });
});

describe('other records', () => {
  it('SRV says where a service has a port', async () => {
    const { answers, additionals } = await bench.ask('_sql._tcp.db.app.warren', 'SRV', { edns: 1232 });
    const data = answers!.map((one) => ('data' in one ? one.data : undefined));
    expect(data).toHaveLength(2);
    for (const target of ['app-db-1.node-1.warren', 'app-db-2.node-2.warren']) {
      expect(data).toContainEqual({ priority: 0, weight: 0, port: 5432, target });
    }
    expect(additionals!.filter(({ type }) => type === 'A')).toHaveLength(2);
    expect(await bench.data('_9000._udp.db.app.warren', 'SRV')).toHaveLength(2);
    expect(await bench.data('_9000._tcp.db.app.warren', 'SRV')).toEqual(['NXDOMAIN']);
    expect(await bench.data('db.app.warren', 'SRV')).toHaveLength(4);
    expect(await bench.data('web.app.warren', 'SRV')).toEqual([]);
  });

  it('PTR is the name of an address in the pod ranges', async () => {
    expect(await bench.data('3.1.42.10.in-addr.arpa', 'PTR')).toEqual(['web.node-1.warren']);
    expect(await bench.data('1.2.42.10.in-addr.arpa', 'PTR')).toEqual(['node-2.warren']);
    const v6 = '0000000000000003'.split('').reverse().join('.');
    expect(await bench.data(`${v6}.1.0.0.0.0.0.0.0.0.0.0.0.2.4.d.f.ip6.arpa`, 'PTR')).toEqual([
      'web.node-1.warren',
    ]);
    const { authorities } = await bench.ask('77.1.42.10.in-addr.arpa', 'PTR');
    expect(authorities).toMatchObject([{ type: 'SOA', name: '42.10.in-addr.arpa' }]);
    expect(codeOf(await bench.ask('77.1.42.10.in-addr.arpa', 'PTR'))).toBe('NXDOMAIN');
    expect(codeOf(await bench.ask('1.42.10.in-addr.arpa', 'PTR'))).toBe('NOERROR');
    expect(codeOf(await bench.ask('x.1.42.10.in-addr.arpa', 'PTR'))).toBe('NXDOMAIN');
    expect(bench.asked).toEqual([]);
    bench.resolvers = [];
    expect(codeOf(await bench.ask('1.2.0.192.in-addr.arpa', 'PTR'))).toBe('SERVFAIL');
  });

  it('SOA and NS are the zone’s', async () => {
    expect(await bench.data('warren', 'NS')).toEqual(['node-1.warren']);
    expect((await bench.ask('warren', 'SOA')).answers).toMatchObject([
      { type: 'SOA', name: 'warren', data: { mname: 'node-1.warren', minimum: 1 } },
    ]);
  });

  it('what is not there has the SOA with it, and is not kept for long', async () => {
    for (const [name, type, code] of [
      ['none.app.warren', 'A', 'NXDOMAIN'],
      ['web.node-1.warren', 'MX', 'NOERROR'],
    ] as const) {
      const answer = await bench.ask(name, type);
      expect(codeOf(answer)).toBe(code);
      expect(answer.answers).toEqual([]);
      expect(answer.authorities).toMatchObject([{ type: 'SOA', name: 'warren', ttl: 1 }]);
      expect(answer.flag_aa).toBe(true);
    }
  });
});

describe('sizes', () => {
  beforeEach(() => {
    for (let host = 20; host < 220; host++) {
      bench.cluster.attach({ name: 'many', node: 1, host, network: 'app' });
    }
  });

  it.each([
    [undefined, 512],
    [300, 512],
    [900, 900],
    [4096, 1232],
  ])('of UDP with EDNS of %s: at most %i bytes, and told so', async (edns, most) => {
    const bytes = (await bench.raw(question('many.app.warren', 'A', edns)))!;
    expect(bytes.length).toBeLessThanOrEqual(most);
    expect(bytes.length).toBeGreaterThan(most - 32);
    const answer = decode(Buffer.from(bytes));
    expect(answer.flag_tc).toBe(true);
    expect(answer.answers!.length).toBeGreaterThan(20);
    const opt = answer.additionals!.filter(({ type }) => type === 'OPT') as OptAnswer[];
    expect(opt.map(({ udpPayloadSize }) => udpPayloadSize)).toEqual(edns === undefined ? [] : [1232]);
  });

  it('of TCP: all of them', async () => {
    const answer = await bench.ask('many.app.warren', 'A', { via: 'tcp' });
    expect(answer.answers).toHaveLength(200);
    expect(answer.flag_tc).toBe(false);
    expect(new Set(answer.answers!.map(({ name }) => name))).toEqual(new Set(['many.app.warren']));
  });
});

describe('who asks', () => {
  it('is refused from outside, and not without end', async () => {
    const codes = [];
    for (let i = 0; i < 550; i++) {
      const asked = question('web.node-1.warren');
      const bytes = await bench.raw(asked, '198.51.100.7');
      expect(bytes?.length ?? 0).toBeLessThanOrEqual(asked.length);
      codes.push(bytes && codeOf(decode(Buffer.from(bytes))));
    }
    expect(codes.filter((code) => code === 'REFUSED')).toHaveLength(500);
    expect(codes.filter((code) => code === undefined)).toHaveLength(50);
    await bench.raw(question('example.com'), '198.51.100.7');
    expect(bench.asked).toEqual([]);
    expect(bench.counters.queries.refused).toBe(551);
  });

  it('gets no more than its share', async () => {
    const results = await Promise.all(
      Array.from({ length: 2100 }, () => bench.raw(question('web.node-1.warren'), '10.42.1.3')),
    );
    expect(results.filter((bytes) => bytes === undefined)).toHaveLength(100);
    expect(await bench.data('web.node-1.warren', 'A', '10.42.2.4')).toEqual(['10.42.1.3']);
    bench.clock.advance(1000);
    expect(await bench.data('web.node-1.warren', 'A', '10.42.1.3')).toEqual(['10.42.1.3']);
  });
});

describe('what is no question', () => {
  const codeOfRaw = async (bytes: Uint8Array) => {
    const answer = await bench.raw(bytes);
    return answer && codeOf(decode(Buffer.from(answer)));
  };

  it('has an error for its answer, or none', async () => {
    const name = 'web.node-1.warren';
    expect(await codeOfRaw(Buffer.alloc(11))).toBeUndefined();
    expect(await codeOfRaw(Buffer.alloc(12))).toBe('FORMERR');
    expect(
      await codeOfRaw(encode({ type: 'response', id: 1, questions: [{ name, type: 'A' }] })),
    ).toBeUndefined();
    expect(await codeOfRaw(question(name, 'A', undefined, { flags: 0x2800 }))).toBe('NOTIMP');
    expect(await codeOfRaw(question(name, 'AXFR'))).toBe('REFUSED');
    const twice = [1, 2].map(() => ({ name, type: 'A' as const }));
    expect(await codeOfRaw(question(name, 'A', undefined, { questions: twice }))).toBe('FORMERR');
    expect(await codeOfRaw(question(name).subarray(0, 25))).toBe('FORMERR');
    const chaos = [{ name: 'version.bind', type: 'TXT' as const, class: 'CH' as const }];
    expect(await codeOfRaw(question(name, 'TXT', undefined, { questions: chaos }))).toBe('REFUSED');
    const pointer = Buffer.concat([question(name).subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
    expect(await codeOfRaw(pointer)).toBe('FORMERR');
  });

  it('of a later EDNS is told so', async () => {
    const bytes = question('web.node-1.warren', 'A', 1232);
    bytes[bytes.length - 5] = 1;
    const answer = Buffer.from((await bench.raw(bytes))!);
    expect(answer.readUInt16BE(2) & 15).toBe(0);
    expect(answer[answer.length - 6]).toBe(1);
    expect(answer.readUInt16BE(6)).toBe(0);
  });

  it('keeps id, question and wish for recursion of whoever asks', async () => {
    const asked = question('wEb.nOde-1.Warren');
    const bytes = (await bench.raw(asked))!;
    expect(bytes.subarray(12, asked.length)).toEqual(asked.subarray(12));
    expect(decode(Buffer.from(bytes))).toMatchObject({
      id: 4711,
      flag_rd: true,
      flag_ra: true,
      flag_qr: true,
    });
  });

  it('never throws, whatever the bytes are', async () => {
    const valid = fc.constantFrom(
      question('web.node-1.warren', 'A', 1232),
      question('_sql._tcp.db.app.warren', 'SRV'),
      question('3.1.42.10.in-addr.arpa', 'PTR', 512),
      question('example.com', 'TXT', 4096),
    );
    const damaged = fc
      .tuple(valid, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }), fc.nat(80))
      .map(([bytes, changes, cut]) => {
        const copy = Buffer.from(bytes);
        for (const [at, value] of changes) copy[at % copy.length] = value;
        return cut < 40 ? copy : copy.subarray(0, cut);
      });
    bench.upstream = ({ query }) => Uint8Array.from(query, (byte, i) => (i === 2 ? byte | 0x80 : byte));
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 600 }), damaged);
    await fc.assert(
      fc.asyncProperty(bytes, fc.constantFrom('udp', 'tcp'), async (input, via) => {
        const before = Object.values(bench.counters.queries).reduce((a, b) => a + b);
        bench.clock.advance(20);
        const answer = await bench.raw(input, '10.42.1.3', via);
        expect(Object.values(bench.counters.queries).reduce((a, b) => a + b)).toBe(before + 1);
        if (!answer) return;
        expect(answer.length).toBeLessThanOrEqual(via === 'udp' ? 1232 : 65_535);
        expect([answer[0], answer[1]]).toEqual([input[0], input[1]]);
        expect(answer[2]! & 0x80).toBe(0x80);
        decode(Buffer.from(answer));
      }),
      { numRuns: 3000, seed: 20_261_127 },
    );
  });
});
