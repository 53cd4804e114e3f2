package cluster

// Docker is the container in which a node runs.
type Docker struct {
	Image, Container string
	Engine           string // the command: docker or podman
	// Pull fetches the image each time, even where one of the name is there.
	Pull    bool
	Options []string // for the engine's run
	// Runtime and Shm say whether GPUs and the size of /dev/shm are looked for
	// and added to Options.
	Runtime, Shm bool
}

// Docker gives the container for a node of a type; false if nodes run on their
// machines themselves.
func (c *Config) Docker(nodeType string, head bool) (Docker, bool) {
	section := sub(c.doc, "docker")
	own := map[string]any{}
	for k, v := range section {
		own[k] = v
	}
	kind := "worker"
	if head {
		kind = "head"
	} else {
		for k, v := range sub(sub(sub(c.doc, "available_node_types"), nodeType), "docker") {
			own[k] = v
		}
	}
	d := Docker{Image: str(own[kind+"_image"]), Container: str(own["container_name"]), Engine: "docker"}
	if d.Image == "" {
		d.Image = str(own["image"])
	}
	if d.Image == "" || d.Container == "" {
		return Docker{}, false
	}
	if own["use_podman"] == true {
		d.Engine = "podman"
	}
	d.Pull = own["pull_before_run"] != false
	d.Options = append(texts(own["run_options"]), texts(own[kind+"_run_options"])...)
	d.Runtime = own["disable_automatic_runtime_detection"] != true
	d.Shm = own["disable_shm_size_detection"] != true
	return d, true
}

// docker checks that the section names both an image and a container, or
// neither.
func (c *checker) docker(doc map[string]any) {
	section := sub(doc, "docker")
	container := str(section["container_name"])
	image := str(section["image"]) != "" || str(section["head_image"]) != "" && str(section["worker_image"]) != ""
	switch {
	case image && container == "":
		c.addAt("docker.container_name", "missing; an image needs a name for its container, for example ray_container")
	case container != "" && !image:
		c.addAt("docker.image", "missing; give image, or both head_image and worker_image, beside container_name")
	case container != "" && !reContainer.MatchString(container):
		c.addAt("docker.container_name", "%q is no name for a container: use letters, digits, dots, dashes and underscores", container)
	case container != "" && (str(sub(doc, "provider")["type"]) == "process" || str(sub(doc, "provider")["type"]) == "docker"):
		c.addAt("docker", "is not for the %s provider; remove it", str(sub(doc, "provider")["type"]))
	}
}
