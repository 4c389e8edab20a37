/** What holds for all datagrams of WireGuard. It is asked by those too who load nothing else of it. */
import type { EncapsulationForm } from '../../datapath/encapsulation.ts';
import { TAG_BYTES } from './constants.ts';

/** Type, receiver index and counter. */
export const DATA_HEADER_BYTES = 16;

export const WIREGUARD_FORM: EncapsulationForm = {
  headerBytes: DATA_HEADER_BYTES,
  addedBytes: DATA_HEADER_BYTES + TAG_BYTES,
  sendsFromOnePort: true,
  hasHandshakes: true,
};
