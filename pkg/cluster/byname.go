package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// byName reads one namespace by its name, for who may not list namespaces. It is
// never watched.
func byName(kube kubernetes.Interface, name string) cache.ListerWatcher {
	return unwatched{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			found, err := kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			switch {
			case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
				return &corev1.NamespaceList{}, nil
			case err != nil:
				return nil, fmt.Errorf("read namespace %s: %w", name, err)
			}
			return &corev1.NamespaceList{Items: []corev1.Namespace{*found}}, nil
		},
		WatchFuncWithContext: func(ctx context.Context, _ metav1.ListOptions) (watch.Interface, error) {
			silent := watch.NewRaceFreeFake()
			context.AfterFunc(ctx, silent.Stop)
			return silent, nil
		},
	}}
}

// unwatched keeps a reflector from asking a watch for what is there already.
type unwatched struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is how a reflector finds that out.
func (unwatched) IsWatchListSemanticsUnSupported() bool { return true }
