/** Sealing and opening of a datagram in place, by each engine that this Node has. */
import type { AeadEngine } from '../../encapsulation/wireguard/aead.ts';
import { chooseAead } from '../../encapsulation/wireguard/choose-aead.ts';
import { NodeAead } from '../../encapsulation/wireguard/node-aead.ts';
import { Arena } from '../../sys/arena.ts';
import type { MicroBenchmark } from './harness.ts';

const TAG_BYTES = 16;
const PACKET_BYTES = [96, 1_408];
/** As many datagrams as one send has, each in a place of its own. */
const PLACES = 44;
const STRIDE_BYTES = 1_456;

export function benchmarks(): MicroBenchmark[] {
  const { engine } = chooseAead();
  const engines = [engine, ...(engine instanceof NodeAead ? [] : [new NodeAead()])];
  return engines.flatMap((one) => PACKET_BYTES.flatMap((bytes) => of(one, bytes)));
}

function of(engine: AeadEngine, bytes: number): MicroBenchmark[] {
  const memory = new Arena(2 * PLACES * STRIDE_BYTES);
  const sealed = PLACES * STRIDE_BYTES;
  const key = new Uint8Array(32).fill(7);
  const sealer = engine.sealer(key, memory, memory);
  const opener = engine.opener(key, memory);
  const title = `${bytes} bytes, ${engine.name}`;
  return [
    {
      name: `seal, ${title}`,
      unit: 'datagram',
      operations: PLACES,
      run(iterations) {
        let done = 0;
        for (let n = 0; n < iterations; n++) {
          for (let i = 0; i < PLACES; i++) {
            const at = i * STRIDE_BYTES;
            done += sealer.seal(i, at, 52, at + 52, bytes - 52, 0, sealed + at) ? 1 : 0;
          }
        }
        return done;
      },
    },
    {
      // It is opened where it lies, so from the second time on it is a forgery: the same work.
      name: `open, ${title}`,
      unit: 'datagram',
      operations: PLACES,
      run(iterations) {
        let done = 0;
        for (let n = 0; n < iterations; n++) {
          for (let i = 0; i < PLACES; i++)
            done += opener.open(i, sealed + i * STRIDE_BYTES, bytes + TAG_BYTES) ? 1 : 0;
        }
        return done;
      },
    },
  ];
}
