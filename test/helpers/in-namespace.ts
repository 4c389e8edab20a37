/** Commands in a network namespace of a lab, and what the kernel has counted there. */
import type { CommandOptions } from '../../src/lab/command.ts';
import type { LabNamespace } from '../../src/lab/host.ts';

/** Counters of the namespace's network stack, by the names of nstat(8), such as `IpFragCreates`. */
export async function stackCounters(
  namespace: LabNamespace,
  ...names: readonly string[]
): Promise<Record<string, number>> {
  const report = await mustRun(namespace, ['nstat', '-a', '-s', '-z', '-j', ...names]);
  return (JSON.parse(report) as { kernel: Record<string, number> }).kernel;
}

/** Packets that `device` has received; for a TUN device those that its owner has written. */
export async function receivedPackets(namespace: LabNamespace, device: string): Promise<number> {
  return (await linkCounters(namespace, device)).rx.packets;
}

/** Packets that `device` has sent; for a TUN device those that its owner has read, superpackets as one. */
export async function sentPackets(namespace: LabNamespace, device: string): Promise<number> {
  return (await linkCounters(namespace, device)).tx.packets;
}

async function linkCounters(
  namespace: LabNamespace,
  device: string,
): Promise<Record<'rx' | 'tx', { packets: number }>> {
  const report = await mustRun(namespace, ['ip', '-json', '-stats', 'link', 'show', 'dev', device]);
  const [link] = JSON.parse(report) as { stats64: Record<'rx' | 'tx', { packets: number }> }[];
  return link!.stats64;
}

/** Runs `argv` in a lab's namespace; its standard output. Throws with all that it said if it fails. */
export async function mustRun(
  namespace: LabNamespace,
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await namespace.exec(argv, options);
  if (code !== 0) throw new Error(`\`${argv.join(' ')}\` ended with code ${code}:\n${stdout}\n${stderr}`);
  return stdout;
}
