/** The golden files of a release (test/golden), and its own idea of the messages. */
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import protobuf from 'protobufjs';
import type { KeyListReport, PeerReport, PodReport, StatusReport } from '../../src/readmodel/reports.ts';
import { type GossipCapture, readGossipCapture } from './gossip-capture.ts';

export interface GoldenRelease {
  /** A copy of the state folder, for the files may be migrated in place. */
  readonly copyState: () => { readonly stateDir: string; readonly remove: () => void };
  /** What the node that the state folder is of said of itself when the files were taken. */
  readonly reports: {
    readonly status: StatusReport;
    readonly peers: readonly PeerReport[];
    readonly pods: readonly PodReport[];
    readonly keys: KeyListReport;
  };
  /** The keys of the sealed capture, as in a key file: the first was removed while it was taken. */
  readonly clusterKeys: string;
  readonly capture: (name: 'sealed' | 'clear') => GossipCapture;
  /** Messages of its gossip.proto, by name. */
  readonly messageType: (name: 'Message' | 'NodeRecord') => protobuf.Type;
}

export function goldenRelease(version: string): GoldenRelease {
  const folder = fileURLToPath(new URL(`../golden/${version}/`, import.meta.url));
  const text = (path: string) => readFileSync(join(folder, path), 'utf8');
  const report = (name: string) => JSON.parse(text(`state/reports/${name}.json`));
  const { root } = protobuf.parse(text('gossip.proto'), new protobuf.Root());
  return {
    copyState: () => {
      const stateDir = mkdtempSync(join(tmpdir(), 'warren-golden-'));
      cpSync(join(folder, 'state'), stateDir, { recursive: true });
      return { stateDir, remove: () => rmSync(stateDir, { recursive: true }) };
    },
    reports: {
      status: report('status'),
      peers: report('peers'),
      pods: report('pods'),
      keys: report('keys'),
    },
    clusterKeys: text('gossip/sealed.keys'),
    capture: (name) => readGossipCapture(gunzipSync(readFileSync(join(folder, `gossip/${name}.pcap.gz`)))),
    messageType: (name) => root.lookupType(`warren.gossip.v1.${name}`),
  };
}
