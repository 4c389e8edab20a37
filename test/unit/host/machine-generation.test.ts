import { describe, expect, it } from 'vitest';
import { realClock } from '../../../src/clock.ts';
import {
  isGenerationChange,
  linuxGenerationSources,
  machineGeneration,
} from '../../../src/host/machine-generation.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

const event = (text: string) => Buffer.from(text.replaceAll('|', '\0'));

describe('the generation of the machine', () => {
  it('is another after the event of its device, and after another boot id', () => {
    const clock = new VirtualClock();
    let changed = false;
    let boot = 'one';
    const generation = machineGeneration(clock, {
      hasChanged: () => changed,
      bootId: () => boot,
      close: () => {},
    });
    const first = generation.current();
    expect(generation.current()).toBe(first);
    changed = true;
    const second = generation.current();
    expect(second).not.toBe(first);
    changed = false;
    expect(generation.current()).toBe(second);
    boot = 'two';
    clock.advance(1000);
    expect(generation.current()).not.toBe(second);
  });

  it('knows the event from others', () => {
    const head = 'change@/devices/LNXSYSTM:00/QEMUVGID:00|ACTION=change|SUBSYSTEM=acpi|';
    expect(isGenerationChange(event(`${head}NEW_VMGENID=1|SEQNUM=1234|`))).toBe(true);
    expect(isGenerationChange(event(`${head}SEQNUM=1234|`))).toBe(false);
    expect(isGenerationChange(event('add@/x|NAME=NEW_VMGENID=1|'))).toBe(false);
  });

  it('is read from the kernel without waiting, and stays the same on a machine that only runs', () => {
    const generation = machineGeneration(realClock, linuxGenerationSources());
    const first = generation.current();
    expect(first).toMatch(/^[0-9a-f-]{36}\/0$/);
    for (let i = 0; i < 100; i++) expect(generation.current()).toBe(first);
    generation.close();
    expect(generation.current()).toBe(first);
  });
});
