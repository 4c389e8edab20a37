/** The reader's end of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */

export interface StreamEvent {
  /** The version of what it shows. */
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/** The events in `chunks`, as they come. Throws where one is longer than `maxBytes`. Comments are passed over. */
export async function* eventsOf(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<StreamEvent, void> {
  const decoder = new TextDecoder();
  /** Pieces of a line that has not ended yet, and of an event's lines. Bounded by `maxBytes`. */
  let rest: string[] = [];
  let restBytes = 0;
  let fields: Record<string, string> = {};
  for await (const chunk of chunks) {
    const [first, ...lines] = decoder.decode(chunk, { stream: true }).split('\n');
    rest.push(first!);
    restBytes += chunk.length;
    if (restBytes > maxBytes) throw new Error('an event is too long');
    for (const next of lines) {
      const line = rest.join('');
      rest = [next];
      restBytes = next.length;
      if (line !== '') {
        const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line)!;
        if (name !== '') fields[name!] = value!;
        continue;
      }
      const { id = '', event = 'message', data } = fields;
      fields = {};
      if (data !== undefined) yield { id, event, data };
    }
  }
}
