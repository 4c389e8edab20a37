/** `warren peer add|list|show|rm`: ordinary WireGuard devices with an address of this node. */
import type { Command } from 'commander';
import type { WireguardPeerFile } from '../../readmodel/reports.ts';
import type { CliContext } from '../../terminal/io.ts';
import { painter } from '../../terminal/table.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';
import { addLabel } from '../label-option.ts';
import { renderWireguardPeers } from '../reports.ts';

interface JsonOption extends SocketOption {
  readonly json?: true;
}

interface AddOptions extends JsonOption {
  readonly wireguard: true;
  readonly publicKey?: string;
  readonly endpoint?: string;
  readonly nodeEndpoint?: string;
  readonly dns?: readonly string[];
  readonly label?: Readonly<Record<string, string>>;
  readonly qr: boolean;
}

export function registerPeerCommands(program: Command, context: CliContext): void {
  const { stdout, stderr } = context.io;
  const peer = program.command('peer').description('let laptops, phones and routers with WireGuard in');

  withSocket(
    peer
      .command('add')
      .description(
        "give a device an address of this node; print its wg-quick file, and a QR code for WireGuard's apps",
      )
      .argument('<name>', '1 to 63 lower-case letters, digits and hyphens')
      .requiredOption('--wireguard', 'it speaks WireGuard; there is no other kind')
      .option('--dns <address...>', 'name servers and search domains of its file')
      .option('--public-key <key>', 'its public key; default: keys are made, shown once and not kept')
      .option('--endpoint <address:port>', 'where the device always is; default: it comes from anywhere')
      .option(
        '--node-endpoint <host:port>',
        "where the device reaches this node; default: the underlay's address and the tunnel's port",
      )
      .option('--label <key=value>', 'a label of it, for others to choose it by; may be repeated', addLabel)
      .option('--no-qr', 'no QR code; there is none either where the output is no terminal')
      .option('--json', 'print the peer as JSON, its file included')
      .addHelpText(
        'after',
        '\nExamples:\n  warren peer add phone --wireguard --node-endpoint vpn.example.org\n  warren peer add laptop --wireguard --dns 10.42.0.53 cluster.local > laptop.conf\n  warren peer add office --wireguard --public-key "$(wg pubkey < key)" --endpoint 198.51.100.9:51820',
      ),
  ).action(async (name: string, { wireguard: _, qr, json, label: labels, ...options }: AddOptions) => {
    const { socket, ...request } = options;
    const added = await agentClient(context, { ...(socket !== undefined && { socket }) }).addWireguardPeer({
      ...{ name, ...request, labels },
    });
    if (json) return printJson(context, added);
    stdout.write(added.file);
    if (added.isComplete && qr && stdout.isTerminal) await printCode(added);
    stderr.write(
      added.isComplete
        ? 'Its private key is kept nowhere: this file is shown once.\n'
        : 'Put its private key into this file.\n',
    );
  });

  withSocket(
    peer
      .command('list')
      .description('list the devices that were added to this node')
      .option('--json', 'print them as JSON'),
  ).action(async (options: JsonOption) => {
    const peers = await agentClient(context, options).wireguardPeers();
    if (options.json) printJson(context, peers);
    else stdout.write(renderWireguardPeers(peers, painter(stdout, context.io.env)));
  });

  withSocket(
    peer
      .command('show')
      .description("print a device's file again, without its private key, which is kept nowhere")
      .argument('<name>', 'name of the peer')
      .option('--json', 'print the peer as JSON, its file included'),
  ).action(async (name: string, options: JsonOption) => {
    const shown = await agentClient(context, options).wireguardPeer(name);
    if (options.json) printJson(context, shown);
    else stdout.write(shown.file);
  });

  withSocket(
    peer
      .command('rm')
      .alias('remove')
      .description('end what a device has with this node at once, and free its address')
      .argument('<name>', 'name of the peer')
      .option('--json', 'print the peer that was removed as JSON'),
  ).action(async (name: string, options: JsonOption) => {
    const removed = await agentClient(context, options).removeWireguardPeer(name);
    if (options.json) printJson(context, removed);
    else stdout.write(`${removed.name} is removed.\n`);
  });

  /** Comments only make it larger. */
  async function printCode({ file }: WireguardPeerFile): Promise<void> {
    const { qrCode } = await import('../qr-code.ts');
    const short = file.replace(/^#.*\n/gm, '').replace(/\n\n/g, '\n');
    stdout.write(`\n${await qrCode(short.trim(), context.io.env)}\n`);
  }
}
