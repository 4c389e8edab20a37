import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/ip/address.ts';
import {
  MAX_PER_ADDRESS,
  MAX_PER_SUBNET,
  MAX_PROVEN,
  MAX_UNPROVEN,
  type Place,
  StreamAdmission,
} from '../../../src/link/stream-admission.ts';

function setUp() {
  let nowMs = 0;
  const admission = new StreamAdmission(() => nowMs);
  const cut: string[] = [];
  const enter = (address: string, origin: 'member' | 'stranger' = 'stranger'): Place | undefined => {
    const place: Place | undefined = admission.enter(parseAddress(address), origin, () => {
      cut.push(address);
      place?.release();
    });
    return place;
  };
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { enter, cut, pass };
}

/** From as many addresses as it takes. */
const many = (count: number, enter: (address: string) => Place | undefined) =>
  Array.from({ length: count }, (_, i) => enter(`192.0.2.${1 + (i % 100)}`)).filter(
    (place) => place !== undefined,
  );

describe('stream admission', () => {
  it('lets strangers take their own places and none of the members', () => {
    const { enter } = setUp();
    expect(many(200, (address) => enter(address))).toHaveLength(MAX_UNPROVEN);
    expect(enter('198.51.100.1')).toBeUndefined();
    expect(enter('198.51.100.2', 'member')).toBeDefined();
  });

  it('takes the place of the stranger that has waited the longest, once that has had its time', () => {
    const { enter, cut, pass } = setUp();
    many(MAX_UNPROVEN, (address) => enter(address));
    pass(249);
    expect(enter('198.51.100.1')).toBeUndefined();
    pass(1);
    expect(enter('198.51.100.1')).toBeDefined();
    expect(cut).toEqual(['192.0.2.1']);
    const full = setUp();
    const places = many(MAX_UNPROVEN, (address) => full.enter(address));
    full.pass(1000);
    expect(places[0]!.proven()).toBe(true);
    expect(full.enter('198.51.100.1')).toBeDefined();
    expect(full.cut).toEqual([]);
  });

  it('bounds one address, members too, and one IPv6 /64 of strangers', () => {
    const { enter } = setUp();
    for (let i = 0; i < MAX_PER_ADDRESS; i++) expect(enter('192.0.2.1', 'member')).toBeDefined();
    expect(enter('192.0.2.1', 'member')).toBeUndefined();
    const places = Array.from({ length: MAX_PER_SUBNET }, (_, i) => enter(`2001:db8::${i + 1}`));
    expect(places.every((place) => place !== undefined)).toBe(true);
    expect(enter('2001:db8::ffff')).toBeUndefined();
    expect(enter('2001:db8:0:1::1')).toBeDefined();
    expect(enter('2001:db8::ffff', 'member')).toBeDefined();
    places[0]!.release();
    places[0]!.release();
    expect(enter('2001:db8::ffff')).toBeDefined();
    expect(enter('2001:db8::fffe')).toBeUndefined();
  });

  it('frees the place of a stranger that has the key for the next, up to a bound of its own', () => {
    const { enter } = setUp();
    const proven: Place[] = [];
    for (let i = 0; i < MAX_PROVEN; i++) {
      const place = enter(`2001:db8:${i.toString(16)}::1`)!;
      expect(place.proven()).toBe(true);
      expect(place.proven()).toBe(true);
      proven.push(place);
    }
    const next = enter('192.0.2.1')!;
    expect(next.proven()).toBe(false);
    proven[0]!.release();
    expect(next.proven()).toBe(true);
  });
});
