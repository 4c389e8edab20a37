/** What happened lately, newest first. */
import { useState } from 'preact/hooks';
import type { EventReport } from '../../src/readmodel/reports.ts';
import { EVENT_KINDS, type EventKind, eventText } from '../model/event-text.ts';
import { clockTime, dateTime, plural } from '../model/format.ts';
import { formatRoute } from '../model/routes.ts';
import type { State } from '../model/state.ts';

const TONES = new Map(EVENT_KINDS.map(({ kind, tone }) => [kind, tone]));
/** More than anybody reads at once. */
const MAX_SHOWN = 200;

export function EventsView({ state: { events } }: { state: State }) {
  const [hidden, setHidden] = useState<ReadonlySet<EventKind>>(new Set());
  const shown = events.filter(({ kind }) => !hidden.has(kind));
  const counts = new Map<EventKind, number>();
  for (const { kind } of events) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const toggle = (kind: EventKind) => {
    const next = new Set(hidden);
    if (!next.delete(kind)) next.add(kind);
    setHidden(next);
  };
  return (
    <>
      <h1>What happened</h1>
      <fieldset class="chips">
        <legend class="for-readers">Kinds of events that are shown</legend>
        {EVENT_KINDS.map(({ kind, label, tone }) => (
          <label key={kind} class={`chip ${tone}`}>
            <input type="checkbox" checked={!hidden.has(kind)} onChange={() => toggle(kind)} />
            {label} <span class="quiet">{counts.get(kind) ?? 0}</span>
          </label>
        ))}
      </fieldset>
      <section class="card">
        <Timeline events={shown.slice(0, MAX_SHOWN)} />
        {shown.length > MAX_SHOWN && (
          <p class="quiet">
            {plural(shown.length - MAX_SHOWN, 'earlier event is', 'earlier events are')} not shown.
          </p>
        )}
      </section>
    </>
  );
}

export function Timeline({ events }: { events: readonly EventReport[] }) {
  if (events.length === 0)
    return <p class="quiet">Nothing since the agent started, or nothing of what is to be shown.</p>;
  const days = new Map<string, EventReport[]>();
  for (const event of events) {
    const day = dateTime(event.timeMs).split(' ')[0]!;
    days.set(day, [...(days.get(day) ?? []), event]);
  }
  return (
    <>
      {[...days].map(([day, list]) => (
        <div key={day}>
          <h2 class="day">{day}</h2>
          <ol class="timeline">
            {list.map((event) => (
              <li key={event.number} class={TONES.get(event.kind) ?? 'calm'}>
                <time dateTime={new Date(event.timeMs).toISOString()}>{clockTime(event.timeMs)}</time>
                <span class="mark" aria-hidden="true" />
                <span>
                  <a href={formatRoute({ view: 'node', key: event.nodeId })}>{event.node}</a>{' '}
                  {eventText(event)}
                </span>
              </li>
            ))}
          </ol>
        </div>
      ))}
    </>
  );
}
