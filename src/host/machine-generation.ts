/**
 * Tells when this machine goes on from an earlier state of itself, as far as Linux says so: a text that is another then.
 *
 * A hypervisor that puts a virtual machine back to a snapshot, or copies it, gives it another generation id (ACPI device
 * VMGENID: QEMU, Hyper-V, VMware, Firecracker, cloud providers). Linux keeps the id to itself; its driver announces a
 * change as an event of the device, `NEW_VMGENID=1`, since 6.8. Nothing else of it can be read: /dev/vmgenid and
 * /dev/sysgenid were proposed and never taken in. Events are read without waiting, a few microseconds where there are
 * none. A process that is restored from a checkpoint on another run of the kernel finds another boot id; that is read once a
 * second. Without a generation id a machine that was put back is noticed by its clocks (link/sessions.ts).
 */
import type { Clock } from '../clock.ts';
import { UeventSocket } from '../sys/uevent-socket.ts';
import { bootId } from './boot.ts';

const BOOT_ID_READ_MS = 1000;

export interface MachineGeneration {
  /** Different from what it was before: memory may be older than the world. */
  current(): string;
  close(): void;
}

export interface GenerationSources {
  /** Whether such an event has come since it was last asked. */
  readonly hasChanged: () => boolean;
  readonly bootId: () => string;
  readonly close: () => void;
}

export function machineGeneration(clock: Clock, sources: GenerationSources): MachineGeneration {
  let changes = 0;
  let boot = sources.bootId();
  let readAtMs = clock.now();
  return {
    current: () => {
      if (sources.hasChanged()) changes++;
      if (clock.now() - readAtMs >= BOOT_ID_READ_MS) {
        readAtMs = clock.now();
        boot = sources.bootId();
      }
      return `${boot}/${changes}`;
    },
    close: () => sources.close(),
  };
}

/** Where no such socket can be had the boot id alone counts. */
export function linuxGenerationSources(): GenerationSources {
  let socket: UeventSocket | undefined;
  try {
    socket = UeventSocket.open();
  } catch {
    // Not allowed here, as in some sandboxes.
  }
  return {
    hasChanged: () => socket?.drain(isGenerationChange) ?? false,
    bootId,
    close: () => {
      socket?.close();
      socket = undefined;
    },
  };
}

/** An event is text, its fields separated by NUL. */
export function isGenerationChange(event: Uint8Array): boolean {
  return Buffer.from(event).toString('latin1').split('\0').includes('NEW_VMGENID=1');
}
