/** What `warren docker` asks of the agent. */
export interface DockerSettings {
  /** Where the engine looks for its plugins: a socket there, called after the driver. */
  readonly plugin: string;
  /** The engine's own. */
  readonly engine: string;
  /** The engine's configuration file, which is to name this node as a resolver; absent: it is left alone. */
  readonly daemonConfig?: string;
}

/** Of the engine's configuration file. */
export interface DockerNames {
  readonly file: string;
  /** The engine has to be started again. */
  readonly isChanged: boolean;
}

/** Absent: the file was left alone. */
export interface DockerAnswer {
  readonly names?: DockerNames;
}

export interface DockerCommands {
  enable(settings: DockerSettings): Promise<DockerAnswer>;
  disable(): Promise<DockerAnswer>;
}
