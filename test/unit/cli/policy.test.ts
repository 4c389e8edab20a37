/** `warren policy`: files that are read and checked by the command, and what it shows of the agent's answers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiServer, startApiServer } from '../../../src/api/server.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import type {
  ExplainReport,
  ExplainRequest,
  PolicyChange,
  PolicyChangeReport,
  PolicyListReport,
} from '../../../src/policy/commands.ts';
import { cli } from '../../helpers/cli.ts';
import { FakeAgent } from '../../helpers/fake-agent.ts';

const DOCUMENT = {
  apiVersion: 'networking.k8s.io/v1' as const,
  kind: 'NetworkPolicy' as const,
  metadata: { name: 'db', namespace: 'shop' },
  spec: { podSelector: { matchLabels: { app: 'db' } } },
};
const YAML = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}}
`;

let folder: string;
let socket: string;
let server: ApiServer;
let changes: PolicyChange[];
let asked: ExplainRequest[];
let changed: Partial<PolicyChangeReport>;
let listed: PolicyListReport;
let explained: ExplainReport;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warren-policy-cli-'));
  socket = join(folder, 'agent.sock');
  [changes, asked, changed] = [[], [], {}];
  const agent = new FakeAgent();
  agent.policies = async () => ({
    change: async (change) => {
      changes.push(change);
      const none = { applied: [], deleted: [], sent: [], unreachable: [], differing: [] };
      return { ...none, ...changed };
    },
    list: async () => listed,
    explain: async (request) => {
      asked.push(request);
      return explained;
    },
  });
  const options = { path: socket, gid: undefined, model: agent, commands: agent, log: silentLogger };
  server = await startApiServer(options);
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

const policy = (...argv: string[]) => cli(['policy', ...argv, '-s', socket]);
function fileOf(text: string): string {
  const path = join(folder, 'policies.yaml');
  writeFileSync(path, text);
  return path;
}

describe('policy apply', () => {
  it('sends what files hold, and says where other nodes have others', async () => {
    changed = { applied: ['shop/db'], differing: ['node-b', 'node-c'] };
    const { code, stdout } = await policy('apply', '-f', fileOf(YAML));
    expect(code).toBe(0);
    expect(changes).toEqual([{ apply: [DOCUMENT] }]);
    expect(stdout).toBe(
      'shop/db is applied\n' +
        'Other policies than these are on node-b, node-c: warren policy apply --all sends them there.\n',
    );
  });

  it('sends them to all, staged if that is wanted, and fails where a node could not be told', async () => {
    changed = {
      ...{ applied: ['shop/db'], sent: ['node-b'], problem: 'nft is broken' },
      unreachable: [{ node: 'node-c', reason: 'no answer' }],
    };
    const { code, stdout } = await policy('apply', '-f', fileOf(YAML), '--all', '--staged');
    expect(code).toBe(1);
    const metadata = { ...DOCUMENT.metadata, annotations: { 'warren.io/staged': 'true' } };
    expect(changes).toEqual([{ apply: [{ ...DOCUMENT, metadata }], all: true }]);
    expect(stdout).toBe(
      'shop/db is applied\nsent to node-b\nnot sent to node-c: no answer\n' +
        'They are not in force here yet: nft is broken\n',
    );
  });

  it('says what is wrong with a file, with its lines, and sends nothing', async () => {
    const wrong = fileOf(YAML.replace('podSelector', 'podSelectr'));
    const { code, stderr } = await policy('apply', '-f', wrong);
    expect(code).toBe(1);
    expect(stderr).toContain(`${wrong}:4:8: document 1: spec.podSelectr`);
    expect(stderr).toContain('podSelector');
    const missing = await policy('apply', '-f', join(folder, 'none.yaml'));
    expect(missing.stderr).toMatch(/cannot read .*none\.yaml: ENOENT/);
    expect(changes).toEqual([]);
  });

  it('wants a file, or --all', async () => {
    expect(await policy('apply')).toMatchObject({ code: 2 });
    changed = { sent: ['node-b'] };
    expect(await policy('apply', '--all')).toMatchObject({ code: 0, stdout: 'sent to node-b\n' });
    expect(changes).toEqual([{ apply: [], all: true }]);
  });
});

describe('policy delete and list', () => {
  it('name policies by namespace and name', async () => {
    changed = { deleted: ['shop/db'] };
    expect((await policy('delete', 'shop/db')).stdout).toBe('shop/db is deleted\n');
    expect(changes).toEqual([{ delete: ['shop/db'] }]);
    listed = {
      ...{ hash: 'aa', differing: [] },
      policies: [{ name: 'shop/db', staged: true, pods: 2, denied: 7, document: DOCUMENT }],
    };
    expect((await policy('list')).stdout).toBe(
      'POLICY   STATE   SELECTS  PODS HERE  DENIED\nshop/db  staged  app=db           2       7\n',
    );
    expect(JSON.parse((await policy('list', '--json')).stdout)).toEqual(listed);
    const [stored] = listed.policies;
    listed = { ...listed, policies: [stored!, { ...stored!, name: 'shop/web', source: 'Kubernetes' }] };
    expect((await policy('list')).stdout).toBe(
      'POLICY    OF          STATE   SELECTS  PODS HERE  DENIED\n' +
        'shop/db   this node   staged  app=db           2       7\n' +
        'shop/web  Kubernetes  staged  app=db           2       7\n',
    );
    listed = { policies: [], hash: null, differing: ['node-b'] };
    expect((await policy('list')).stdout).toMatch(/no network policies\.\nOther policies .* on node-b/);
  });
});

describe('policy explain', () => {
  beforeEach(() => {
    explained = {
      from: { address: '10.42.1.2', pod: 'shop/web', node: 'node-a' },
      to: { address: '10.42.2.2', pod: 'shop/db', node: 'node-b' },
      ...{ protocol: 'tcp', port: 80, verdict: 'denied' },
      ends: [
        {
          ...{ direction: 'egress', pod: 'shop/web', node: 'node-a', verdict: 'allowed', policies: [] },
          staged: { verdict: 'denied', policies: ['shop/new'] },
          kernel: { rules: [], trial: { packets: 1, ageSeconds: 3.6 } },
        },
        {
          ...{ direction: 'ingress', pod: 'shop/db', node: 'node-b', verdict: 'denied' },
          policies: [{ policy: 'shop/db', selector: 'app=db' }],
          lacks: [{ rule: 'shop/db ingress[0]', why: 'it is about TCP 5432' }],
          kernel: { rules: [], denied: { packets: 12, ageSeconds: 4 } },
        },
      ],
    };
  });

  it('shows both ends, and exits with 1 where it is denied', async () => {
    const { code, stdout } = await policy('explain', 'web', 'db', '--tcp', '80');
    expect(asked).toEqual([{ source: 'web', destination: 'db', protocol: 'tcp', port: 80 }]);
    expect(code).toBe(1);
    expect(stdout).toBe(`shop/web (10.42.1.2) -> shop/db (10.42.2.2), TCP 80: denied

egress of shop/web on node-a: allowed
  no policy in force selects it
  would be denied by staged shop/new
  kernel: 1 packet that staged policies would deny, the last one 4 s ago

ingress of shop/db on node-b: denied
  shop/db selects it by app=db
  not by shop/db ingress[0]: it is about TCP 5432
  kernel: 12 packets denied, the last one 4 s ago
`);
    expect((await policy('explain', 'web', 'db', '--json')).stdout).toContain('"verdict": "denied"');
    expect(asked[1]).toMatchObject({ protocol: 'icmp', port: 0 });
  });

  it('takes one kind of packets', async () => {
    expect(await policy('explain', 'a', 'b', '--tcp', '1', '--udp', '2')).toMatchObject({ code: 2 });
    expect(await policy('explain', 'a', 'b', '--tcp', '70000')).toMatchObject({ code: 2 });
    expect(asked).toEqual([]);
  });
});
