/** What `warren docker` asks of the agent. */
export interface DockerSettings {
  /** Where the engine looks for its plugins: a socket there, called after the driver. */
  readonly plugin: string;
  /** The engine's own. */
  readonly engine: string;
}

export interface DockerCommands {
  enable(settings: DockerSettings): Promise<void>;
  disable(): Promise<void>;
}
