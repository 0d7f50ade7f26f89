package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"serin.dev/serin/pkg/canary"
)

func newTarget(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "target NAME",
		Short: "Print the Deployment that the next version is to be deployed to",
		Long: `Prints one name, for pipelines: of two Deployments that take turns the idle one;
else the one that asks for canary releases. While a release is under way it is
that one's canary: deploying to it then ends that release and begins another.`,
		Example: `  kubectl set image deployment/$(kubectl canary target web) web=registry.example.com/web:v3`,
		Args:    oneName, ValidArgsFunction: t.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := t.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.done()
			r, err := s.reader(cmd.Context(), s.cluster.namespace, "")
			if err != nil {
				return err
			}
			seen, err := r.find(cmd.Context(), s.cluster, args[0])
			if err != nil {
				return err
			}
			v := seen.view()
			switch {
			case seen.state.Phase.Active():
				t.note(fmt.Sprintf("a release of %s is under way: %s at %d%%", seen.from(), seen.state.Phase, seen.state.Weight))
			case v.Reason == canary.CarriesTraffic:
				return fmt.Errorf("target %s: %s", args[0], v.Sentence)
			case seen.subject == "":
				return fmt.Errorf("target %s: no Deployment of Service %s asks for canary releases; opt one in by kubectl annotate deployment NAME serin.dev/canary=true", args[0], seen.key)
			}
			_, err = fmt.Fprintln(t.streams.Out, seen.deployment())
			return err
		},
	}
}
