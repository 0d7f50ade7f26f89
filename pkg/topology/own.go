package topology

// What a release in place adds to the cluster is known by its labels.
const (
	ManagedByKey = "app.kubernetes.io/managed-by"
	ManagedBy    = "serin"
	// ServiceLabel names the Service that an object of ours was made for.
	ServiceLabel = "serin.dev/service"
	// TrackKey is the label, of value TrackCanary, that tells the pods of a canary
	// Deployment of ours from those of the user's.
	TrackKey = "serin.dev/track"
	// TemplateKey is the annotation of a canary Deployment that says of which
	// template it was made: the hash of the user's, without our label.
	TemplateKey = "serin.dev/template"
	TrackCanary = "canary"
)

// CanaryName is the name of the canary Deployment that we make for a Deployment.
func CanaryName(deployment string) string { return deployment + "-canary" }

// AddedName is the name of the DestinationRule, and of the VirtualService where
// one is needed, that we make for a Deployment.
func AddedName(deployment string) string { return deployment + "-serin" }

// Ours tells that an object, as a JSON tree, is one that we made for a Service.
func Ours(doc map[string]any, service string) bool {
	labels := child(child(doc, "metadata"), "labels")
	return labels[ManagedByKey] == ManagedBy && labels[ServiceLabel] == service
}
