/** Headers that go before every packet: VXLAN-GPE outbound, virtio inbound. */
import { Arena } from '../../sys/arena.ts';
import { TCP_CHECKSUM } from '../../wire/tcp.ts';
import { VIRTIO_GSO_TCPV4, VIRTIO_NET_HEADER_BYTES, writeVirtioHeader } from '../../wire/virtio-net.ts';
import { FIRST_WORD_IPV4, VXLAN_GPE_BYTES, vniWord, writeVxlanGpe } from '../../wire/vxlan-gpe.ts';
import type { MicroBenchmark } from './harness.ts';

/** Header slots of a burst. */
const SLOTS = 1024;
const STRIDE = 192;

export function benchmarks(): MicroBenchmark[] {
  const { view } = new Arena(SLOTS * STRIDE);
  const secondWord = vniWord(42);
  return [
    {
      name: `header write, VXLAN-GPE (${VXLAN_GPE_BYTES} bytes)`,
      unit: 'header',
      operations: SLOTS,
      run(iterations) {
        for (let n = 0; n < iterations; n++) {
          for (let i = 0; i < SLOTS; i++)
            writeVxlanGpe(view, i * STRIDE, FIRST_WORD_IPV4, secondWord | (n & 1));
        }
        return view.getUint32(STRIDE + 4);
      },
    },
    {
      name: `header write, virtio (${VIRTIO_NET_HEADER_BYTES} bytes)`,
      unit: 'header',
      operations: SLOTS,
      run(iterations) {
        for (let n = 0; n < iterations; n++) {
          for (let i = 0; i < SLOTS; i++)
            writeVirtioHeader(view, i * STRIDE, VIRTIO_GSO_TCPV4, 52, 1400 + (n & 1), 20, TCP_CHECKSUM);
        }
        return view.getUint32(STRIDE + 4);
      },
    },
  ];
}
